"""Deadlines of the core: what is due is run by ``Broker.tick``, the time is always passed in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """One deadline. Cancelling it leaves it in the heap until its time, which costs nothing."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[float], None]) -> None:
        self.action: Callable[[float], None] | None = action

    def cancel(self) -> None:
        """The action will not run; it and what it refers to are let go of."""
        self.action = None


class Timers:
    """A heap of deadlines, in the seconds of the clock that the shell passes in."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, when: float, action: Callable[[float], None]) -> Timer:
        """Runs ``action(now)`` in the first tick at or after ``when``."""
        timer = Timer(action)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def run_due(self, now: float) -> None:
        """Runs what is due, earliest first, including what those actions make due."""
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            if timer.action is not None:
                action, timer.action = timer.action, None
                action(now)

    def next_deadline(self) -> float | None:
        """When the next tick is needed, or None while nothing waits."""
        while self._heap and self._heap[0][2].action is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
