"""What anybody can bring about is logged, but never faster than it can be read.

The first is said at once; while more follow, one line every so often says how many there were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Gathered:
    """Says what happened by ``say``, at most every ``seconds``; for use in an event loop.

    ``say`` gets how many there were since it was last called, at least 1.
    """

    def __init__(self, say: Callable[[int], None], *, seconds: float) -> None:
        self._say = say
        self._seconds = seconds
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self) -> None:
        """It happened once more."""
        self._count += 1
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
        self._say(count)
