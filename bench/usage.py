"""What a peer costs: CPU time and resident memory of its processes, sampled while it runs."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from bench.processes import family_of

_TREE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """``at``: seconds since the epoch; ``cpu_seconds``: user and system of all processes since
    they began; ``resident_bytes``: by process, as "name:pid".
    """

    at: float
    cpu_seconds: float
    resident_bytes: dict[str, int] = field(default_factory=dict)


class UsageSampler:
    """Samples a process and its descendants in a thread until it is closed.

    A process that ends keeps the CPU time that was seen last. Looking for descendants walks the
    whole process table, so that is done once a second; the counters are read at every interval.
    """

    def __init__(self, pid: int, *, interval_seconds: float = 0.1, memory: bool = False) -> None:
        self._pid = pid
        self._interval = interval_seconds
        self._memory = memory
        self._spent: dict[psutil.Process, float] = {}
        self.samples: list[Sample] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def __enter__(self) -> UsageSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        family: list[psutil.Process] = []
        looked = float("-inf")
        due = time.monotonic()
        while not self._closing.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            if time.monotonic() - looked >= _TREE_SECONDS:
                family, looked = family_of(self._pid), time.monotonic()
            resident: dict[str, int] = {}
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._spent[process] = times.user + times.system
                    if self._memory:
                        resident[f"{process.name()}:{process.pid}"] = process.memory_info().rss
            self.samples.append(
                Sample(
                    at=time.time(),
                    cpu_seconds=sum(self._spent.values()),
                    resident_bytes=resident,
                )
            )

    def cpu_between(self, begin: float, end: float) -> float:
        """CPU seconds spent between two times of the epoch, interpolated between samples."""
        return self._cpu_at(end) - self._cpu_at(begin)

    def _cpu_at(self, moment: float) -> float:
        samples = self.samples
        if not samples:
            return 0.0
        after = bisect_left(samples, moment, key=lambda sample: sample.at)
        if after == 0:
            return samples[0].cpu_seconds
        if after == len(samples):
            return samples[-1].cpu_seconds
        left, right = samples[after - 1], samples[after]
        share = (moment - left.at) / (right.at - left.at)
        return left.cpu_seconds + share * (right.cpu_seconds - left.cpu_seconds)
