from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import pytest
from apache_beam.io.unbounded_source import CheckpointMark
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from transforms.inbox import InboxMark, InboxMarkCoder, InboxReader
from transforms.stop import request_stop, reset_stop

Batch = list[str]


class ListInbox:
    """An inbox of texts in memory; its batches are lists of them."""

    def __init__(self, *texts: str) -> None:
        self.queue = deque((text, 100.0 + index) for index, text in enumerate(texts))
        self.acknowledged: list[Batch] = []
        self.error: Exception | None = None
        self.counts: Counter[str] = Counter()

    @property
    def stands(self) -> bool:
        return True

    @property
    def oldest_time(self) -> float | None:
        return self.queue[0][1] if self.queue else None

    def take(self, maximum: int, timeout_seconds: float) -> Batch | None:
        if not self.queue:
            return None
        return [self.queue.popleft()[0] for _ in range(min(maximum, len(self.queue)))]

    def acknowledge(self, batches: Sequence[Batch]) -> None:
        self.acknowledged += batches

    def give_back(self, batches: Sequence[Batch]) -> None:
        texts = [text for batch in batches for text in batch]
        self.queue.extendleft((text, 50.0) for text in reversed(texts))

    def check_started(self) -> None:
        if self.error is not None:
            raise self.error

    def drain_counters(self) -> tuple[Counter[str], list[int]]:
        return self.counts, [5]


class ListReader(InboxReader[Batch]):
    def get_current(self) -> Batch:
        assert self.current is not None
        return self.current

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(100)


def reader(inbox: ListInbox, *, lag_seconds: float = 0.0) -> ListReader:
    return ListReader(inbox, metrics="test", most_messages=2, watermark_lag_seconds=lag_seconds)


@pytest.fixture(autouse=True)
def _run_again() -> Iterator[None]:
    reset_stop()
    yield
    reset_stop()


def read_all(from_reader: ListReader) -> list[Batch]:
    batches = []
    more = from_reader.start()
    while more:
        batches.append(from_reader.get_current())
        more = from_reader.advance()
    return batches


def test_messages_come_in_lists_no_longer_than_asked() -> None:
    assert read_all(reader(ListInbox("a", "b", "c"))) == [["a", "b"], ["c"]]


def test_a_mark_acknowledges_what_was_read_before_it_and_does_so_once() -> None:
    inbox = ListInbox("a", "b", "c")
    reading = reader(inbox)
    reading.start()
    mark = reading.get_checkpoint_mark()
    reading.advance()
    assert inbox.acknowledged == []
    mark.finalize_checkpoint()
    mark.finalize_checkpoint()
    assert inbox.acknowledged == [["a", "b"]]
    reading.get_checkpoint_mark().finalize_checkpoint()
    assert inbox.acknowledged == [["a", "b"], ["c"]]


def test_a_mark_of_an_empty_bundle_acknowledges_nothing() -> None:
    inbox = ListInbox()
    reading = reader(inbox)
    assert not reading.start()
    reading.get_checkpoint_mark().finalize_checkpoint()
    assert inbox.acknowledged == []


def test_a_mark_that_was_encoded_carries_nothing() -> None:
    inbox = ListInbox("a")
    reading = reader(inbox)
    reading.start()
    mark = reading.get_checkpoint_mark()
    coder = InboxMarkCoder()
    assert coder.encode(mark) == b""
    copy = coder.decode(coder.encode(mark))
    assert isinstance(copy, InboxMark)
    assert isinstance(copy, CheckpointMark)
    copy.finalize_checkpoint()
    assert inbox.acknowledged == []
    assert coder.is_deterministic()


def test_closing_gives_back_what_no_mark_carries() -> None:
    inbox = ListInbox("a", "b", "c", "d")
    reading = reader(inbox)
    reading.start()
    mark = reading.get_checkpoint_mark()
    reading.advance()
    reading.close()
    assert [text for text, _ in inbox.queue] == ["c", "d"]
    mark.finalize_checkpoint()
    assert inbox.acknowledged == [["a", "b"]]
    reading.close()
    assert len(inbox.queue) == 2


def test_the_watermark_waits_for_the_oldest_message() -> None:
    assert reader(ListInbox("a")).get_watermark() <= Timestamp(100)


def test_the_watermark_follows_the_clock_while_nothing_waits() -> None:
    before = time.time()
    watermark = float(reader(ListInbox()).get_watermark().micros) / 1e6
    assert before - 0.2 <= watermark <= time.time()


def test_the_watermark_stays_behind_by_the_lag() -> None:
    watermark = float(reader(ListInbox("a"), lag_seconds=30).get_watermark().micros) / 1e6
    assert watermark <= 70


def test_a_message_that_arrives_while_the_watermark_is_taken_is_not_late() -> None:
    arrived: list[float] = []

    class Racing(ListInbox):
        @property
        def oldest_time(self) -> float | None:
            # Right behind the look into the queue.
            arrived.append(time.time())
            time.sleep(0.15)
            return None

    watermark = float(reader(Racing()).get_watermark().micros) / 1e6
    assert watermark <= arrived[0]


def test_a_stop_ends_the_source_after_what_was_read() -> None:
    inbox = ListInbox("a", "b", "c")
    reading = reader(inbox)
    reading.start()
    assert reading.get_watermark() < MAX_TIMESTAMP
    request_stop()
    assert not reading.advance()
    assert reading.get_watermark() == MAX_TIMESTAMP
    reading.get_checkpoint_mark().finalize_checkpoint()
    assert inbox.acknowledged == [["a", "b"]]
    assert [text for text, _ in inbox.queue] == ["c"]


def test_an_inbox_that_never_came_up_fails_the_bundle() -> None:
    inbox = ListInbox()
    inbox.error = ConnectionError("no broker")
    with pytest.raises(ConnectionError, match="no broker"):
        reader(inbox).start()


def test_counts_are_reported_with_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    from apache_beam.metrics.execution import MetricsContainer
    from apache_beam.metrics.metricbase import MetricName
    from apache_beam.runners.worker import statesampler
    from apache_beam.utils import counters

    sampler = statesampler.StateSampler("stage", counters.CounterFactory())
    state = sampler.scoped_state("step", "process", metrics_container=MetricsContainer("step"))
    inbox = ListInbox("a")
    inbox.counts["received"] = 3
    sampler.start()
    try:
        with state:
            reading = reader(inbox)
            reading.start()
            reading.get_checkpoint_mark()
    finally:
        sampler.stop()
    container = state.metrics_container
    assert container.get_counter(MetricName("test", "received")).get_cumulative() == 3
    latency = container.get_distribution(MetricName("test", "ack_latency_ms")).get_cumulative()
    assert (latency.count, latency.sum) == (1, 5)
