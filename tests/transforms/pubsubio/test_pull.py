from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from localcloud.subscriber import PubSub
from tests.harness.waiting import wait_until
from tests.transforms.pubsubio.conftest import Place
from transforms.pubsubio import PubSubNotFound, PubSubUnavailable
from transforms.pubsubio import pull as pull_module
from transforms.pubsubio.channel import open_channel
from transforms.pubsubio.pull import PulledBatch, Puller

Pull = Callable[..., Puller]


@pytest.fixture
def pull(place: Place) -> Iterator[Pull]:
    """Makes pullers that are closed after the test."""
    made: list[Puller] = []

    def make(subscription: str = "", **changes: Any) -> Puller:
        settings: dict[str, Any] = {
            "most_messages": 1_000,
            "most_bytes": 10_000_000,
            "lease_seconds": 10,
            "longest_seconds": 600.0,
            "start_timeout_seconds": 60.0,
            **changes,
        }
        made.append(Puller(open_channel(), subscription or place.subscription, **settings))
        return made[-1]

    yield make
    for puller in made:
        puller.close()


def publish(place: Place, *payloads: bytes, ordering_key: str = "") -> None:
    with PubSub(place.service.endpoint) as client:
        for payload in payloads:
            topic = place.topic.rpartition("/")[2]
            client.publish(topic, payload, {}, ordering_key=ordering_key)


def take(puller: Puller, count: int) -> list[PulledBatch]:
    batches: list[PulledBatch] = []
    while sum(len(batch.messages) for batch in batches) < count:
        batch = puller.take(count, 10)
        assert batch is not None, "no message came"
        batches.append(batch)
    return batches


def data(batches: list[PulledBatch]) -> list[bytes]:
    return [item.message.data for batch in batches for item in batch.messages]


def test_what_is_acknowledged_is_gone_and_what_is_not_comes_again(place: Place, pull: Pull) -> None:
    publish(place, b"1")
    first = pull()
    first.acknowledge(take(first, 1))
    publish(place, b"2")
    wait_until(lambda: first.counters["received"] == 2, seconds=10, what="the second message")
    # What is queued when it closes is let go at once, not when its lease ends.
    first.close()
    second = pull()
    assert data(take(second, 1)) == [b"2"]
    assert second.take(1, 0.3) is None


def test_what_is_given_back_keeps_its_order(place: Place, pull: Pull) -> None:
    publish(place, *(b"%d" % number for number in range(6)))
    puller = pull()
    wait_until(lambda: puller.counters["received"] == 6, seconds=10, what="six messages")
    batches = [batch for batch in (puller.take(2, 0), puller.take(2, 0)) if batch is not None]
    order = data(batches)
    puller.give_back(batches)
    assert data(take(puller, 6))[:4] == order
    assert puller.oldest_time is None


def test_who_acknowledges_what_was_given_back_acknowledges_nothing_else(
    place: Place, pull: Pull
) -> None:
    publish(place, b"1", b"2")
    puller = pull()
    wait_until(lambda: puller.counters["received"] == 2, seconds=10, what="two messages")
    first = puller.take(1, 0)
    assert first is not None
    puller.give_back([first])
    # Both are in one batch now, which is not the one that was given back.
    assert len(take(puller, 2)[0].messages) == 2
    assert len(first.messages) == 1
    puller.acknowledge([first])
    wait_until(lambda: puller.counters["acked"] == 1, seconds=10, what="the acknowledgement")


def test_a_spare_reader_takes_of_a_backlog_only(place: Place, pull: Pull) -> None:
    puller = pull()
    publish(place, *(b"%d" % number for number in range(5)))
    wait_until(lambda: puller.counters["received"] == 5, seconds=10, what="five messages")
    assert puller.take_spare(3, 0.0) is None
    spare = puller.take_spare(2, 0.0)
    assert spare is not None
    assert len(spare.messages) == 2
    assert puller.take_spare(2, 0.0) is None
    rest = take(puller, 3)
    assert sorted(data([spare, *rest])) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_spare_reader_wakes_for_a_backlog(place: Place, pull: Pull) -> None:
    puller = pull()
    with ThreadPoolExecutor() as threads:
        taken = threads.submit(puller.take_spare, 1, 10.0)
        publish(place, b"1", b"2", b"3")
        spare = taken.result(10)
    assert spare is not None
    assert len(spare.messages) == 1


def test_ordering_keys_are_left_to_the_first_reader(place: Place, pull: Pull) -> None:
    puller = pull()
    publish(place, *(b"%d" % number for number in range(5)), ordering_key="k")
    wait_until(lambda: puller.counters["received"] == 5, seconds=10, what="five messages")
    assert puller.take_spare(1, 0.0) is None
    assert data(take(puller, 5)) == [b"0", b"1", b"2", b"3", b"4"]


def test_acknowledgements_are_sent_when_the_service_is_back(place: Place, pull: Pull) -> None:
    publish(place, b"1")
    puller = pull()
    batches = take(puller, 1)
    with place.service.refusing_connections():
        puller.acknowledge(batches)
        wait_until(
            lambda: puller.counters["reconnects"] > 0, seconds=10, what="the stream has ended"
        )
        assert puller.counters["acked"] == 0
    wait_until(lambda: puller.counters["acked"] == 1, seconds=10, what="acknowledged")
    assert puller.counters["acks_lost"] == 0


def test_messages_come_again_soon_after_an_outage(place: Place, pull: Pull) -> None:
    puller = pull()
    with place.service.refusing_connections():
        wait_until(lambda: puller.counters["reconnects"] > 1, seconds=10, what="two attempts")
    publish(place, b"1")
    assert data(take(puller, 1)) == [b"1"]


class DeadStream:
    """A stream as grpcio 1.85.1 leaves it now and then: it has ended, and its reader waits on."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def is_active(self) -> bool:
        return False

    def cancel(self) -> None:
        self.cancelled.set()

    def __iter__(self) -> Iterator[Any]:
        self.cancelled.wait()
        yield from ()


def test_a_stream_whose_end_was_missed_is_left(
    place: Place, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_module, "_EXTEND_SECONDS", 0.2)
    dead = DeadStream()

    def first_is_dead(channel: Any) -> Callable[..., Any]:
        streams = iter([lambda requests: dead])
        real = open_stream(channel)
        return lambda requests: next(streams, real)(requests)

    open_stream = pull_module.streaming_pull  # type: ignore[attr-defined]  # imported there
    monkeypatch.setattr(pull_module, "streaming_pull", first_is_dead)
    puller = pull()
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == "pubsub-pull"]
    publish(place, b"1")
    assert data(take(puller, 1)) == [b"1"]
    assert puller.counters["reconnects"] == 1
    # The reader that comes back to life leaves the new stream alone.
    dead.cancel()
    waiting.join(5)
    assert not waiting.is_alive()
    publish(place, b"2")
    assert data(take(puller, 1)) == [b"2"]
    assert puller.counters["reconnects"] == 1


def test_a_subscription_that_is_gone_is_told_at_intervals_until_it_is_there_again(
    place: Place, pull: Pull, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(f"{place.subscription} does not exist" in line for line in caplog.messages)

    monkeypatch.setattr(pull_module, "_LOG_EVERY_SECONDS", 1.0)
    topic, name = (path.rpartition("/")[2] for path in (place.topic, place.subscription))
    publish(place, b"1")
    puller = pull()
    puller.acknowledge(take(puller, 1))
    with PubSub(place.service.endpoint) as client:
        client.delete_subscription(name)
        wait_until(lambda: told() == 3, seconds=15, what="told, and two reminders")
        assert puller.counters["reconnects"] > 3
        client.create_subscription(name, topic=topic)
    publish(place, b"2")
    assert data(take(puller, 1)) == [b"2"]


def test_closing_sends_the_acknowledgements_that_wait(place: Place, pull: Pull) -> None:
    publish(place, b"1")
    puller = pull()
    puller.acknowledge(take(puller, 1))
    puller.close()
    assert puller.counters["acked"] == 1


def test_a_missing_subscription_fails_the_start(place: Place, pull: Pull) -> None:
    puller = pull("projects/local/subscriptions/missing")

    def failed() -> bool:
        try:
            puller.check_started()
        except PubSubNotFound as error:
            return "gcloud pubsub subscriptions create missing --topic=TOPIC" in str(error)
        return False

    wait_until(failed, seconds=10, what="check_started raises")


def test_a_service_that_never_answers_fails_the_start_in_its_time(place: Place, pull: Pull) -> None:
    with place.service.refusing_connections():
        puller = pull(start_timeout_seconds=0.3)
        puller.check_started()

        def failed() -> bool:
            try:
                puller.check_started()
            except PubSubUnavailable:
                return True
            return False

        wait_until(failed, seconds=10, what="check_started raises")


def test_counts_are_drained_once(place: Place, pull: Pull) -> None:
    publish(place, b"1")
    puller = pull()
    puller.acknowledge(take(puller, 1))
    wait_until(lambda: puller.counters["acked"] == 1, seconds=10, what="acknowledged")
    counts, latencies = puller.drain_counters()
    assert counts == {"received": 1, "acked": 1}
    assert len(latencies) == 1
    assert puller.drain_counters() == ({}, [])
