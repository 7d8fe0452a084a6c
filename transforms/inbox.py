"""Beam's UnboundedSource over an inbox: a live queue whose messages are acknowledged one by one.

MQTT sessions and Pub/Sub subscriptions are such queues. The position is kept by the server, so a
checkpoint mark holds no position: it holds the batches of one bundle, and finalizing it
acknowledges them. A reader holds nothing that it did not just hand to its bundle; the inbox,
one a process, owns the queue and outlives the readers.

A bundle ends when the queue is empty, so it is as large as the load makes it: a message or two
when nothing hurries, thousands under load, with a bound on time and count (see
:class:`ReadInbox`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    UnboundedReader,
    _ReadFromUnboundedSourceDoFn,
)
from apache_beam.metrics import Metrics
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from transforms.held_back import HeldBack
from transforms.stop import stop_requested

_WAIT_SECONDS = 0.05
"""How long a bundle's first ``advance`` waits for a message: longer would stall the runner, less
would make it run more empty bundles, a few milliseconds of work each."""

_POLL_SECONDS = 0.0
"""The wait paces an idle source; a resume delay would keep Prism busy until it is over."""

_READ_SECONDS = 0.25
_LISTS_PER_BUNDLE = 12
"""Bounds of a bundle under load. A bundle ends by waiting for its last write, so few large ones
waste less; what it holds must stay well below what may be unacknowledged, else the queue runs
dry while it waits."""

_LINGER_SECONDS = 0.003
"""A bundle waits this long for more than its first messages: a bundle costs some 2 ms of work
whatever is in it, and a core that is free answers sooner than one that is not."""

_SETTLE_SECONDS = 0.1
"""The idle watermark stays this far behind the clock: Pub/Sub dates a message before it is on its
way here, and it must not be late for that."""

_STANDS = threading.Event()
_HOLDS_BACK = threading.Event()
_LOCK = threading.Lock()
_HELD_BACK: WeakKeyDictionary[Any, dict[type, HeldBack[Any]]] = WeakKeyDictionary()

BatchT = TypeVar("BatchT")
SettingsT = TypeVar("SettingsT")


class Inbox(Protocol[BatchT]):
    """A live queue. All methods may be called from any thread."""

    @property
    def stands(self) -> bool:
        """Whether what is sent from now on is kept for us."""

    @property
    def oldest_time(self) -> float | None:
        """A lower bound on the timestamps of queued messages (epoch seconds); None if empty."""

    def take(self, maximum: int, timeout_seconds: float) -> BatchT | None:
        """Returns up to ``maximum`` messages, or None if none came in time."""

    def acknowledge(self, batches: Sequence[BatchT]) -> object:
        """Says that the batches are stored elsewhere."""

    def give_back(self, batches: Sequence[BatchT]) -> None:
        """Queues the batches' messages again."""

    def check_started(self) -> None:
        """Raises the reason if the inbox never came up and can't, or not in its time."""

    def drain_counters(self) -> tuple[Counter[str], list[int]]:
        """Returns counts since the last call, and milliseconds from receipt to acknowledgement."""


def inbox_stands(timeout_seconds: float) -> bool:
    """Waits until an inbox of this process stands: from then on nothing that is sent is missed."""
    return _STANDS.wait(timeout_seconds)


class InboxMark(CheckpointMark, Generic[BatchT]):
    """The batches of one bundle, acknowledged when the bundle is durable.

    With ``held_back``, one checkpoint after it was said to be.
    """

    def __init__(
        self,
        inbox: Inbox[BatchT] | None = None,
        batches: Sequence[BatchT] = (),
        held_back: HeldBack[BatchT] | None = None,
    ) -> None:
        self._inbox = inbox
        self._batches = batches
        self._held_back = held_back
        self._made_at = held_back.now() if held_back is not None else 0

    def finalize_checkpoint(self) -> None:
        """Acknowledges, once; does nothing on a decoded copy."""
        batches, self._batches = self._batches, ()
        held_back, self._held_back = self._held_back, None
        if held_back is not None:
            batches = held_back.finalized(batches, made_at=self._made_at)
        if self._inbox is not None and batches:
            self._inbox.acknowledge(batches)


class InboxMarkCoder(Coder):
    """Encodes every mark as nothing: live acknowledgements can't leave their process."""

    def encode(self, value: InboxMark[Any]) -> bytes:
        """Returns no bytes."""
        return b""

    def decode(self, encoded: bytes) -> InboxMark[Any]:
        """Returns a mark without acknowledgements."""
        return InboxMark()

    def is_deterministic(self) -> bool:
        """Every mark has one encoding."""
        return True


class InboxReader(UnboundedReader, Generic[BatchT]):
    """Hands an inbox's messages to bundles, a list at a time.

    Subclasses say what a batch is worth: ``get_current`` and ``get_current_timestamp``, of
    ``self.current``.
    """

    wait_seconds = _WAIT_SECONDS

    def __init__(
        self,
        inbox: Inbox[BatchT],
        *,
        metrics: str,
        most_messages: int,
        watermark_lag_seconds: float = 0.0,
    ) -> None:
        self.current: BatchT | None = None
        self._inbox = inbox
        self._most_messages = most_messages
        self._lag_seconds = watermark_lag_seconds + _SETTLE_SECONDS
        self._meter = _Meter(metrics)
        self._pending: list[BatchT] = []
        self._ended = False
        self._linger_until = 0.0

    def take(self, maximum: int, timeout_seconds: float) -> BatchT | None:
        """Takes from the inbox."""
        return self._inbox.take(maximum, timeout_seconds)

    def start(self) -> bool:
        """Takes the first messages, if there are some."""
        return self.advance()

    def advance(self) -> bool:
        """Takes the next messages; raises what ``Inbox.check_started`` raises."""
        self.current = None
        if stop_requested():
            self.end()
            return False
        if not _STANDS.is_set() and self._inbox.stands:
            _STANDS.set()
        lingering = max(0.0, self._linger_until - time.monotonic())
        wait = lingering if self._pending else self.wait_seconds
        batch = self.take(self._most_messages, wait)
        if batch is None:
            if not self._pending:
                self._inbox.check_started()
            return False
        if not self._pending:
            self._linger_until = time.monotonic() + _LINGER_SECONDS
        self._pending.append(batch)
        self.current = batch
        return True

    def end(self) -> None:
        """Nothing more will be read: the watermark says so, and the runner ends the restriction."""
        self._ended = True

    def get_watermark(self) -> Timestamp:
        """The oldest message that is still to come; the clock when none waits."""
        if self._ended:
            return MAX_TIMESTAMP
        # The clock first: what arrives after the look into the queue is dated later than this.
        now = time.time()
        oldest = self._inbox.oldest_time
        return Timestamp((now if oldest is None else min(now, oldest)) - self._lag_seconds)

    def get_checkpoint_mark(self) -> InboxMark[BatchT]:
        """Gives the bundle's batches to a mark; they are no longer the reader's."""
        batches, self._pending = self._pending, []
        self._meter.report(self._inbox)
        return InboxMark(self._inbox, batches, self._held_back())

    def close(self) -> None:
        """Gives back what no mark carries: its bundle failed."""
        if self._pending:
            self._inbox.give_back(self._pending)
            self._pending = []

    def _held_back(self) -> HeldBack[BatchT] | None:
        """What is held back of this read: of all readers of one kind on one inbox."""
        if not _HOLDS_BACK.is_set():
            return None
        with _LOCK:
            return _HELD_BACK.setdefault(self._inbox, {}).setdefault(type(self), HeldBack())


class ReadInbox(_ReadFromUnboundedSourceDoFn, Generic[SettingsT]):
    """Beam's wrapper of an UnboundedSource, with an inbox's bundle bounds and its settings.

    Beam's ReadFromUnboundedSource has no place for settings, as its source lives in the
    restriction and outlives an update of the job. This DoFn belongs to the job graph, so what
    ``register`` is told in every worker process is up to date.

    ``hold_back``: whether acknowledgements are held back by one checkpoint, as the pipeline's
    runner needs it (see :mod:`transforms.held_back`): in all of the process, which works for one.
    """

    def __init__(
        self,
        register: Callable[[SettingsT], None],
        settings: SettingsT,
        *,
        hold_back: bool = False,
    ) -> None:
        super().__init__(
            poll_interval=_POLL_SECONDS,
            max_records_per_bundle=_LISTS_PER_BUNDLE,
            max_read_time_seconds=_READ_SECONDS,
        )
        self._register = register
        self._settings = settings
        self._hold_back = hold_back

    def setup(self) -> None:
        """Makes the settings known to this process."""
        self._register(self._settings)
        if self._hold_back:
            _HOLDS_BACK.set()
        super().setup()


class _Meter:
    """Beam metrics of an inbox, reported from the reader's calls.

    What is counted in a connection's own thread would vanish: Beam collects the metrics of the
    thread that runs a bundle.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._ack_latency = Metrics.distribution(namespace, "ack_latency_ms")

    def report(self, inbox: Inbox[Any]) -> None:
        """Adds what was counted since the last report of any reader of this inbox."""
        counts, latencies = inbox.drain_counters()
        for name, count in counts.items():
            Metrics.counter(self._namespace, name).inc(count)
        for milliseconds in latencies:
            self._ack_latency.update(milliseconds)
