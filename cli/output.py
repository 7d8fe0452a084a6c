"""Standard output: whoever reads it may have seen enough, which is no error; a full disk is one.

typer, and rich for it, end without a word on any broken pipe at all, one between us and a process
of ours too. So what fails at standard output is told apart here, where it happens: at the file
below all who print, so that `--help` and a command's own words end alike.
"""

import io
import os
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputClosed(Exception):
    """Nobody reads our standard output any more (`head`, `less`)."""


class OutputFailed(Exception):
    """What standard output goes to takes no more; the message says why."""


class _StandardOutput(io.FileIO):
    """Standard output's file, whose errors are told from those of other files."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # What is still in the buffer would fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise OutputClosed from None
            raise OutputFailed(error.strerror) from error


def told_apart(stream: TextIO) -> TextIO:
    """Return a stream to the same file that raises OutputClosed and OutputFailed."""
    raw = _StandardOutput(stream.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty(),
    )


def say(text: str) -> None:
    """Print a line, or several; raises OutputClosed and OutputFailed."""
    typer.echo(text)
