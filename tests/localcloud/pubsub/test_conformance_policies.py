"""Ordering, dead letters, retry, filters, seek and snapshots, as the service has them."""

import time
from typing import Any

import pytest

from tests.localcloud.pubsub.service import Service, emulator_deviates, eventually, texts

SECOND = 1_000_000_000


def now_plus(seconds: float) -> dict[str, int]:
    nanoseconds = time.time_ns() + round(seconds * SECOND)
    return {"seconds": nanoseconds // SECOND, "nanos": nanoseconds % SECOND}


def test_messages_of_a_key_arrive_in_order(service: Service) -> None:
    service.create(enable_message_ordering=True)
    for number in range(30):
        service.publish(str(number), key=f"device-{number % 3}")
    stream = service.stream()
    by_key: dict[str, list[int]] = {}
    count = 0
    while count < 30:
        for received in stream.receive():
            by_key.setdefault(received.message.ordering_key, []).append(int(received.message.data))
            stream.acknowledge([received])
            count += 1
    assert by_key == {f"device-{key}": list(range(key, 30, 3)) for key in range(3)}


@emulator_deviates("it replays the nacked message of a key without those that follow it")
def test_a_nacked_message_of_a_key_is_replayed_with_all_that_follow_it(service: Service) -> None:
    service.create(enable_message_ordering=True)
    service.publish("1", "2", "3", key="device")
    stream = service.stream()
    first, second, third = stream.receive(3)
    stream.send(
        ack_ids=[first.ack_id],
        modify_deadline_ack_ids=[second.ack_id],
        modify_deadline_seconds=[0],
    )
    assert texts(stream.receive(2)) == ["2", "3"]
    assert third.message.data == b"3"


def test_a_key_that_is_out_does_not_hold_up_another(service: Service) -> None:
    service.create(enable_message_ordering=True)
    service.publish("a1", key="a")
    assert texts(service.pull(1)) == ["a1"]
    service.publish("a2", key="a")
    service.publish("b1", key="b")
    assert texts(service.pull(1)) == ["b1"]


def test_a_dead_letter_carries_where_it_came_from(service: Service) -> None:
    dead = service.topic("dead-letters")
    service.call("CreateTopic", name=dead)
    service.call("CreateSubscription", name=service.subscription("dead"), topic=dead)
    service.create(dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5})
    service.publish("poison", deviceId="d1")
    for attempt in range(1, 6):
        received = service.pull(1)
        assert received[0].delivery_attempt == attempt
        service.modify(received, 0)
    letters: list[Any] = []

    def forwarded() -> bool:
        # Google's emulator forwards when the source is pulled again.
        assert service.pull_now() == []
        letters.extend(service.pull_now(subscription=service.subscription("dead")))
        return bool(letters)

    eventually(forwarded)
    (letter,) = letters
    attributes = dict(letter.message.attributes)
    assert letter.message.data == b"poison"
    assert attributes.pop("deviceId") == "d1"
    assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime").startswith("20")
    assert attributes == {
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "telemetry-all",
        "CloudPubSubDeadLetterSourceSubscriptionProject": service.project,
    }
    assert service.pull_now() == []


@emulator_deviates("it ignores retry policies")
def test_a_retry_policy_makes_a_nacked_message_wait(service: Service) -> None:
    service.create(
        retry_policy={"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 2}}
    )
    service.publish("one")
    received = service.pull(1)
    nacked = time.monotonic()
    service.modify(received, 0)
    assert service.pull_now() == []
    service.pull(1)
    assert time.monotonic() - nacked >= 0.9


@emulator_deviates("it ignores filters")
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('attributes.kind = "state"', ["2"]),
        ('attributes.kind != "state"', ["1", "3", "4"]),
        ("attributes:kind", ["1", "2", "4"]),
        ('hasPrefix(attributes.kind, "tele")', ["1"]),
        ('attributes:kind AND NOT (attributes.kind = "state" OR attributes:site)', ["1"]),
    ],
)
def test_a_filter_lets_through_what_matches(
    service: Service, expression: str, expected: list[str]
) -> None:
    service.create(filter=expression)
    service.publish("1", kind="telemetry")
    service.publish("2", kind="state")
    service.publish("3")
    service.publish("4", kind="other", site="north")
    assert sorted(texts(service.pull(len(expected)))) == expected
    assert service.pull_now() == []


def test_a_seek_to_the_future_drops_the_backlog(service: Service) -> None:
    service.create()
    service.publish("1", "2")
    service.call("Seek", subscription=service.subscription(), time=now_plus(60))
    eventually(lambda: service.pull_now() == [])


def test_a_seek_to_the_past_brings_back_retained_acknowledged_messages(service: Service) -> None:
    service.create(retain_acked_messages=True)
    service.publish("1", "2")
    service.acknowledge(service.pull(2))
    assert service.pull_now() == []
    service.call("Seek", subscription=service.subscription(), time=now_plus(-60))
    assert sorted(texts(service.pull(2))) == ["1", "2"]


def test_a_snapshot_brings_back_what_was_unacknowledged_and_all_since(service: Service) -> None:
    service.create()
    service.publish("acked")
    service.acknowledge(service.pull(1))
    service.publish("open")
    service.call("CreateSnapshot", name=service.snapshot(), subscription=service.subscription())
    service.publish("later")
    service.acknowledge(service.pull(2))
    service.call("Seek", subscription=service.subscription(), snapshot=service.snapshot())
    assert sorted(texts(service.pull(2))) == ["later", "open"]
    assert service.pull_now() == []


def test_a_snapshot_is_shown_listed_and_deleted(service: Service) -> None:
    service.create()
    created = service.call(
        "CreateSnapshot", name=service.snapshot(), subscription=service.subscription()
    )
    assert created.topic == service.topic()
    assert 6.9 < (created.expire_time.ToNanoseconds() / 1e9 - time.time()) / 86_400 < 7.1
    assert service.call("GetSnapshot", snapshot=service.snapshot()) == created
    listed = service.call("ListSnapshots", project=f"projects/{service.project}").snapshots
    assert [each.name for each in listed] == [service.snapshot()]
    of_topic = service.call("ListTopicSnapshots", topic=service.topic()).snapshots
    assert list(of_topic) == [service.snapshot()]
    service.refuses(
        "ALREADY_EXISTS",
        "CreateSnapshot",
        name=service.snapshot(),
        subscription=service.subscription(),
    )
    service.call("DeleteSnapshot", snapshot=service.snapshot())
    service.refuses("NOT_FOUND", "GetSnapshot", snapshot=service.snapshot())


def test_a_seek_to_another_topics_snapshot_is_refused(service: Service) -> None:
    service.create()
    service.call("CreateTopic", name=service.topic("other"))
    service.call(
        "CreateSubscription", name=service.subscription("other"), topic=service.topic("other")
    )
    service.call(
        "CreateSnapshot", name=service.snapshot(), subscription=service.subscription("other")
    )
    service.refuses(
        "FAILED_PRECONDITION",
        "Seek",
        subscription=service.subscription(),
        snapshot=service.snapshot(),
    )
