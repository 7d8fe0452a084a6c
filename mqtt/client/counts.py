"""Counters that several threads add to and whoever reports them drains."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """Named counts that only grow; safe from any thread.

    A plain Counter is not: ``+=`` loses what another thread adds in between, and adding two of
    them while a third thread counts something new raises RuntimeError.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total: Counter[str] = Counter()
        self._drained: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Counts ``number`` more of ``name``."""
        with self._lock:
            self._total[name] += number

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._total[name]

    def drain(self) -> Counter[str]:
        """Returns what was counted since the last call, without zeros."""
        with self._lock:
            fresh = self._total - self._drained
            self._drained = self._total.copy()
        return fresh
