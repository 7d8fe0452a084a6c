"""Deadlines of the core: what is due is run by ``Broker.tick``, the time is always passed in.

A deadline that is cancelled stays in the heap, 160 bytes of it, for to take it out of the midst
would cost more than most are worth. Some are days ahead, though, and a client that comes and goes
leaves one each time; so once more than half of the heap is cancelled, it is made anew without them.
Half of those that are looked at then have been cancelled since the last time: each pays for two.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

_FEWEST = 64
"""Cancelled deadlines for which the heap is made anew."""


class Timer:
    """One deadline, of ``timers``."""

    __slots__ = ("_timers", "action")

    def __init__(self, timers: Timers, action: Callable[[float], None]) -> None:
        self._timers = timers
        self.action: Callable[[float], None] | None = action

    def cancel(self) -> None:
        """The action will not run; it and what it refers to are let go of."""
        if self.action is not None:
            self.action = None
            self._timers.one_cancelled()


class Timers:
    """A heap of deadlines, in the seconds of the clock that the shell passes in."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0

    def __len__(self) -> int:
        """How many the heap holds, the cancelled ones among them."""
        return len(self._heap)

    def at(self, when: float, action: Callable[[float], None]) -> Timer:
        """Runs ``action(now)`` in the first tick at or after ``when``."""
        timer = Timer(self, action)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def run_due(self, now: float) -> None:
        """Runs what is due, earliest first, including what those actions make due."""
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.action is None:
                self._cancelled -= 1
            else:
                action, timer.action = timer.action, None
                action(now)

    def next_deadline(self) -> float | None:
        """When the next tick is needed, or None while nothing waits."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def one_cancelled(self) -> None:
        """One of them will not run."""
        self._cancelled += 1
        if self._cancelled > _FEWEST and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].action is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0
