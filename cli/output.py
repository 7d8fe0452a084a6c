"""Standard output: whoever reads it may have seen enough, and that is no error.

typer ends without a word on any broken pipe at all, one between us and a process of ours too.
So the one of standard output is told apart here, where it happens.
"""

import os
import sys

import typer


class OutputClosed(Exception):
    """Nobody reads our standard output any more (`head`, `less`)."""


def say(text: str) -> None:
    """Print a line, or several; raises OutputClosed."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        # What is still in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputClosed from None
