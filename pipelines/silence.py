"""What Beam's threads say when their runner is gone, each with a traceback of its own.

A runner that dies takes a dozen gRPC streams with it. The one sentence that a person needs is the
launcher's; the rest is kept back, but only once the runner is seen to be dead.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from pipelines.prism import Prism

_DYING_SECONDS = 2.0
"""A process's sockets close a moment before its end can be seen."""


@contextlib.contextmanager
def silence_after_death(prism: Prism) -> Iterator[None]:
    """Keeps back what threads raise and what Beam logs after ``prism`` has died."""
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not prism.wait_for_death(_DYING_SECONDS):
            previous(arguments)

    def passes(record: logging.LogRecord) -> bool:
        # Only errors of streams are worth the wait.
        failed = record.exc_info is not None and record.name.startswith("apache_beam")
        return not (failed and prism.wait_for_death(_DYING_SECONDS))

    handlers = list(logging.getLogger().handlers)
    threading.excepthook = hook
    for handler in handlers:
        handler.addFilter(passes)
    try:
        yield
    finally:
        # Not undone if it died: its threads go on complaining until the process has ended.
        if prism.running:
            threading.excepthook = previous
            for handler in handlers:
                handler.removeFilter(passes)
