"""Time as the core sees it: passed in, so that tests can turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings: leases and pauses run on the first, publish times come from the second."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds of time.monotonic."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Nanoseconds of time.time_ns."""
        return time.time_ns()
