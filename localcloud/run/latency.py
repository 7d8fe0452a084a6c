"""Percentiles of latencies in little memory, however long the run."""

import math
from collections import Counter

# Each bucket is 2 % wider than the one before: a percentile is off by at most that.
_GROWTH = 1.02
_SMALLEST_MS = 0.01


class Latencies:
    """Counts latencies in buckets; percentiles are exact to 2 %."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, milliseconds: float) -> None:
        """Count one; less than 0.01 ms counts as that (two clocks may disagree)."""
        least = max(milliseconds, _SMALLEST_MS)
        self._buckets[math.ceil(math.log(least / _SMALLEST_MS, _GROWTH))] += 1
        self._count += 1

    def percentile(self, percent: float) -> float | None:
        """Return the milliseconds that `percent` of all stay within; None where there are none."""
        if not self._count:
            return None
        wanted = math.ceil(self._count * percent / 100)
        seen = 0
        bucket = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                break
        return round(_SMALLEST_MS * _GROWTH**bucket, 2)
