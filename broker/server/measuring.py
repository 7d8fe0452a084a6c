"""What the shell measures beside the core's counters: how long things take, and traffic."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the classes that durations are counted in; a last one takes what is longer."""

LAG_INTERVAL_SECONDS = 0.5


@dataclass(slots=True)
class Durations:
    """How often something took how long: ``counts`` by class of ``SECONDS``, ``total`` in all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """How many took at most so long, by the bound as Prometheus writes it."""
        reached = 0
        rows = []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            reached += count
            rows.append((bound, reached))
        return rows


@dataclass(slots=True, kw_only=True)
class Traffic:
    """One listener's connections, and bytes of MQTT: without those of TLS and WebSocket."""

    listener: str
    accepted: int = 0
    open: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class LoopLag:
    """How much later than asked for the event loop gets to something; measured twice a second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.durations = Durations()
        self._loop = loop
        self._handle = loop.call_later(LAG_INTERVAL_SECONDS, self._measure)

    def stop(self) -> None:
        """Measures no more."""
        self._handle.cancel()

    def _measure(self) -> None:
        self.durations.add(max(0.0, self._loop.time() - self._handle.when()))
        self._handle = self._loop.call_later(LAG_INTERVAL_SECONDS, self._measure)
