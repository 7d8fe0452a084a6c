from __future__ import annotations

import re
import threading
from collections import defaultdict
from typing import Any

import grpc
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from tests.harness.waiting import wait_until
from tests.transforms.pubsubio.conftest import Place
from transforms.errors import DestinationMissing, DestinationUnavailable
from transforms.pubsubio import PubSubFailed, PubSubNotFound, PubSubUnavailable, publish
from transforms.pubsubio.errors import told
from transforms.pubsubio.publish import BatchPublisher
from transforms.pubsubio.wire import attribute, framed

Refusals = list[tuple[bytes, str]]


def publisher(channel: grpc.Channel, topic: str, **changes: Any) -> tuple[BatchPublisher, Refusals]:
    refusals: Refusals = []
    settings: dict[str, Any] = {"ordered": False, "retry_seconds": 20.0, **changes}
    made = BatchPublisher(
        channel,
        topic,
        refused=lambda message, reason: refusals.append((message.data, reason)),
        **settings,
    )
    return made, refusals


def message(data: bytes, key: str = "", **attributes: str) -> PubsubMessage:
    return PubsubMessage(data, attributes, ordering_key=key)


def test_messages_arrive_with_their_attributes_in_requests_of_a_thousand(
    channel: grpc.Channel, place: Place
) -> None:
    sink, refusals = publisher(channel, place.topic)
    for number in range(2_500):
        sink.add(message(b"%d" % number, number=str(number)))
    sink.flush()
    got = {(item.data, item.attributes["number"]) for item in place.received(2_500)}
    assert got == {(b"%d" % number, str(number)) for number in range(2_500)}
    assert refusals == []
    assert sink.counters["published"] == 2_500
    assert len(sink.latencies_ms) == 3


def test_framed_messages_arrive_as_they_were_made(channel: grpc.Channel, place: Place) -> None:
    sink, _ = publisher(channel, place.topic)
    sink.add_framed([framed(b"data", attribute("k", "ü")), framed(b"", attribute("k", "2"))])
    sink.flush()
    got = {(item.data, item.attributes["k"]) for item in place.received(2)}
    assert got == {(b"data", "ü"), (b"", "2")}


def test_messages_that_fill_a_request_together_are_parted(
    channel: grpc.Channel, place: Place
) -> None:
    sink, refusals = publisher(channel, place.topic)
    for size in (6_000_000, 6_000_000, 10_000_000, 1):
        sink.add(message(bytes(size)))
    sink.flush()
    assert sorted(len(item.data) for item in place.received(4)) == [
        1,
        6_000_000,
        6_000_000,
        10_000_000,
    ]
    assert refusals == []


def test_a_message_past_a_limit_is_refused_and_its_neighbours_arrive(
    channel: grpc.Channel, place: Place
) -> None:
    sink, refusals = publisher(channel, place.topic)
    for item in (message(b"1"), message(b"2", k="v" * 1_025), message(b"3")):
        sink.add(item)
    sink.flush()
    assert {item.data for item in place.received(2)} == {b"1", b"3"}
    assert refusals == [(b"2", "attribute 'k' has 1,025 bytes; Pub/Sub takes 1,024")]


def test_what_only_the_service_refuses_is_found_among_its_neighbours(
    channel: grpc.Channel, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "refusal", lambda *message: None)
    sink, refusals = publisher(channel, place.topic)
    bad = {b"7", b"40", b"41", b"99"}
    for number in range(100):
        data = b"%d" % number
        sink.add(message(data, k="v" * (1_025 if data in bad else 1)))
    sink.flush()
    assert {data for data, _ in refusals} == bad
    assert all(place.topic in reason for _, reason in refusals)
    assert len({item.data for item in place.received(96)} - bad) == 96


def test_a_service_that_is_away_is_waited_for(channel: grpc.Channel, place: Place) -> None:
    sink, refusals = publisher(channel, place.topic)
    sink.add(message(b"before"))
    sink.flush()
    with place.service.refusing_connections():
        sink.add(message(b"meanwhile"))
        flushing = threading.Thread(target=sink.flush)
        flushing.start()
        flushing.join(0.5)
        assert flushing.is_alive()
    flushing.join(10)
    assert not flushing.is_alive()
    assert {item.data for item in place.received(2)} == {b"before", b"meanwhile"}
    assert sink.counters["retries"] > 0
    assert refusals == []


def test_an_outage_is_told_at_once_and_then_at_intervals(
    channel: grpc.Channel,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publish, "_LOG_EVERY_SECONDS", 1.0)
    sink, _ = publisher(channel, place.topic)
    with place.service.refusing_connections():
        sink.add(message(b"x"))
        flushing = threading.Thread(target=sink.flush)
        flushing.start()
        wait_until(lambda: len(caplog.messages) == 2, seconds=10, what="told and told again")
    flushing.join(10)
    assert not flushing.is_alive()
    assert sink.counters["retries"] > len(caplog.messages)
    told_first, told_next = caplog.messages[:2]
    assert place.topic in told_first
    assert told_first.endswith("trying again for 0 s")
    assert re.search(r"trying again for [1-9] s$", told_next)


def test_a_service_that_stays_away_is_an_error(channel: grpc.Channel, place: Place) -> None:
    sink, _ = publisher(channel, place.topic, retry_seconds=0.2)
    with place.service.refusing_connections():
        sink.add(message(b"x"))
        with pytest.raises(PubSubUnavailable, match=place.topic) as told_error:
            sink.flush()
    assert isinstance(told_error.value, DestinationUnavailable)


def test_a_missing_topic_is_an_error_with_the_command_that_creates_it(
    channel: grpc.Channel, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, _ = publisher(channel, "projects/local/topics/missing")
    here = "mqttbeam local create --topic projects/local/topics/missing"
    for emulator in ("", "127.0.0.1:8085"):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator)
        sink.add(message(b"x"))
        with pytest.raises(PubSubNotFound, match="gcloud pubsub topics create missing") as told:
            sink.flush()
        assert isinstance(told.value, DestinationMissing)
        assert (here in str(told.value)) is bool(emulator)


def test_what_a_failed_bundle_left_is_forgotten(channel: grpc.Channel, place: Place) -> None:
    sink, _ = publisher(channel, place.topic)
    sink.add(message(b"left"))
    sink.forget()
    sink.add(message(b"next"))
    sink.flush()
    assert [item.data for item in place.received(1)] == [b"next"]


def test_ordering_keys_keep_their_order(channel: grpc.Channel, place: Place) -> None:
    sink, _ = publisher(channel, place.topic, ordered=True)
    for number in range(3_000):
        sink.add(message(b"%d" % number, key=f"key-{number % 3}"))
    sink.flush()
    by_key: dict[str, list[tuple[Any, int]]] = defaultdict(list)
    for item in place.received(3_000):
        by_key[item.ordering_key].append((int(item.message_id), int(item.data)))
    assert {key: len(items) for key, items in by_key.items()} == {
        f"key-{number}": 1_000 for number in range(3)
    }
    for items in by_key.values():
        # Message ids count up as the service takes them.
        assert [number for _, number in sorted(items)] == sorted(number for _, number in items)


def test_without_order_keys_are_left_out(channel: grpc.Channel, place: Place) -> None:
    sink, _ = publisher(channel, place.topic)
    sink.add(message(b"x", key="key"))
    sink.flush()
    assert [item.ordering_key for item in place.received(1)] == [""]


def test_a_refusal_that_is_not_the_message_s_fault_condemns_none() -> None:
    class Failure(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.FAILED_PRECONDITION

        def details(self) -> str:
            return "the key that encrypts the topic is gone"

    error = told(Failure(), "projects/p/topics/t")
    assert isinstance(error, PubSubFailed)
    assert "the key that encrypts" in str(error)
