"""What anybody can bring about is logged, but never faster than it can be read.

The first is said at once; while more follow, one line every so often says how many there were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from broker.server.logs import about

LOG = logging.getLogger("broker")

REPORT_SECONDS = 10.0

T = TypeVar("T")


class Gathered(Generic[T]):
    """Says what happened by ``say``, at most every ``seconds``; for use in an event loop.

    ``say`` gets how many there were since it was last called, at least 1, and the last of them.
    """

    def __init__(self, say: Callable[[int, T], None], *, seconds: float) -> None:
        self._say = say
        self._seconds = seconds
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, one: T) -> None:
        """It happened once more."""
        self._count += 1
        self._last = one
        if self._timer is None:
            self._report()

    def stop(self) -> None:
        """Says what was not said yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._count:
            self._tell()

    def _report(self) -> None:
        self._timer = None
        if self._count:
            self._tell()
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._report)

    def _tell(self) -> None:
        count, self._count = self._count, 0
        self._say(count, self._last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwelcome:
    """A connection that was closed before anybody logged in by it; ``text``: what was done."""

    event: str
    peer: str
    listener: str
    text: str
    reason: str


class Doorkeeper:
    """Logs connections that were closed before anybody logged in, gathered by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, Gathered[Unwelcome]] = {}

    def note(self, kind: str, one: Unwelcome) -> None:
        """One more was closed. There are as many lines as ``kind`` has values."""
        if kind not in self._kinds:
            self._kinds[kind] = Gathered(_warn, seconds=REPORT_SECONDS)
        self._kinds[kind].note(one)

    def stop(self) -> None:
        """Says what was not said yet."""
        for gathered in self._kinds.values():
            gathered.stop()


def _warn(count: int, last: Unwelcome) -> None:
    extra = about(last.event, peer=last.peer, listener=last.listener, reason=last.reason)
    say = partial(LOG.warning, extra=extra)
    if count == 1:
        say("%s: %s", last.peer, last.text)
    else:
        say("%d connections, the last from %s: %s", count, last.peer, last.text)
