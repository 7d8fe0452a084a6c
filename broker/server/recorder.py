"""Events on their way into the registry's database: gathered here, written by a thread.

The queue is bounded. Where the database takes nothing for so long that it is full, what comes then
is not recorded: it is counted, and the log says how many as soon as there is room again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from broker.core.counters import Counters
from broker.errors import RegistryError
from broker.registry.events import ClientEvent

LOG = logging.getLogger("broker")

CAPACITY = 100_000
_AT_ONCE = 2_000
_GATHER_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_FORGET_EVERY_SECONDS = 3_600.0


@runtime_checkable
class Records(Protocol):
    """Where they go; a database. Both raise RegistryError."""

    def record(self, events: Sequence[ClientEvent], seen: Mapping[str, float]) -> None:
        """Writes all of them or none."""

    def forget_events(self, before: float) -> int:
        """Removes those that are older; returns how many."""


class Recorder:
    """``add`` and ``seen`` never wait; they are for one thread, the event loop's."""

    def __init__(
        self, records: Records, counters: Counters, *, keep_seconds: float, capacity: int = CAPACITY
    ) -> None:
        self._records = records
        self._counters = counters
        self._keep_seconds = keep_seconds
        self._capacity = capacity
        self._events: deque[ClientEvent] = deque()
        self._seen: dict[str, float] = {}
        self._lost = 0
        self._complaint: str | None = None
        self._forget_at = 0.0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def add(self, event: ClientEvent) -> None:
        """Takes an event, or counts it as lost."""
        with self._lock:
            if len(self._events) < self._capacity:
                self._events.append(event)
                return
            self._lost += 1
        self._counters.events_not_recorded += 1

    def seen(self, times: Mapping[str, float]) -> None:
        """When these names were seen last, in seconds since the epoch."""
        with self._lock:
            self._seen.update(times)

    def stop(self, timeout_seconds: float) -> None:
        """Writes what is there, for as long as that takes or the time is over."""
        self._stopping.set()
        self._thread.join(timeout_seconds)
        with self._lock:
            left = len(self._events) + self._lost
        if left:
            LOG.error("%d connects and disconnects were not recorded", left)

    def _run(self) -> None:
        failed = False
        while not self._stopping.wait(_RETRY_SECONDS if failed else _GATHER_SECONDS):
            failed = not self._write_all()
        self._write_all()

    def _write_all(self) -> bool:
        """Returns whether nothing is left; what could not be written is."""
        try:
            while self._write_some():
                pass
            now = time.time()
            if now >= self._forget_at:
                self._forget_at = now + _FORGET_EVERY_SECONDS
                self._records.forget_events(now - self._keep_seconds)
        except Exception as error:  # whatever it is, the next ones are recorded
            if self._complaint != str(error):
                # What is no RegistryError is a defect, and told with its place.
                LOG.error(
                    "connects and disconnects can't be recorded now: %s",
                    error,
                    exc_info=not isinstance(error, RegistryError),
                )
                self._complaint = str(error)
            return False
        self._complaint = None
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            LOG.error("%d connects and disconnects were not recorded: too many at once", lost)
        return True

    def _write_some(self) -> bool:
        with self._lock:
            events = [self._events[at] for at in range(min(_AT_ONCE, len(self._events)))]
            seen, self._seen = self._seen, {}
        if not events and not seen:
            return False
        try:
            self._records.record(events, seen)
        except Exception:  # whatever it was, it is tried again; raised again
            with self._lock:
                self._seen = seen | self._seen
            raise
        with self._lock:
            # Nobody else takes from the left.
            for _ in events:
                self._events.popleft()
        return True
