"""What Beam says of an error that the launcher tells in one sentence, kept back.

A runner that dies takes a dozen gRPC streams with it, each with a traceback of its own; they are
kept back once the runner is seen to be dead. An error of ours, raised in a worker, is logged by
Beam three times with its traceback and printed once; it says all in its own words. What nobody
foresaw keeps its tracebacks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from pipelines.prism import Prism

_DYING_SECONDS = 2.0
"""A process's sockets close a moment before its end can be seen."""

_OUR_ERROR = re.compile(r"^(?:mqtt|transforms|schemas|pipelines)\.[\w.]+: (.+)$", re.MULTILINE)
_WORDS = logging.Formatter()


def error_of_ours(text: str) -> str | None:
    """Returns the words of the last error of this project in the text of a traceback."""
    found = _OUR_ERROR.findall(text)
    return found[-1] if found else None


class _Printed(io.TextIOBase):
    """Standard error, but for tracebacks that end with an error of ours, or that come after the
    runner has died, and their line end.
    """

    def __init__(self, stream: TextIO, prism: Prism) -> None:
        self._stream = stream
        self._prism = prism
        self._thread = threading.local()

    def write(self, text: str) -> int:
        dropped = getattr(self._thread, "dropped", False)
        self._thread.dropped = text.startswith("Traceback ") and (
            error_of_ours(text) is not None or self._prism.wait_for_death(0.0)
        )
        if not self._thread.dropped and not (dropped and text == "\n"):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def silence(prism: Prism) -> Iterator[None]:
    """Keeps back what threads raise and what Beam logs after ``prism`` has died, and what Beam
    logs of errors of ours.
    """
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not prism.wait_for_death(_DYING_SECONDS):
            previous(arguments)

    def passes(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR or not record.name.startswith(("apache_beam", "root")):
            return True
        if error_of_ours(_WORDS.format(record)) is not None:
            return False
        # Only errors of streams are worth the wait.
        return not prism.wait_for_death(_DYING_SECONDS if record.exc_info else 0.0)

    handlers = list(logging.getLogger().handlers)
    stderr = sys.stderr
    sys.stderr = _Printed(stderr, prism)
    threading.excepthook = hook
    for handler in handlers:
        handler.addFilter(passes)
    try:
        yield
    finally:
        # Not undone if it died: its threads go on complaining until the process has ended.
        if prism.running:
            sys.stderr = stderr
            threading.excepthook = previous
            for handler in handlers:
                handler.removeFilter(passes)
