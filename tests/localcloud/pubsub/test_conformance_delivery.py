"""Pull, streaming pull, leases and acknowledgements, as the service has them. Over gRPC only."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.localcloud.pubsub.service import (
    Service,
    emulator_deviates,
    eventually,
    message,
    texts,
)


def test_a_message_arrives_as_it_was_published_with_id_and_time(service: Service) -> None:
    service.create()
    before = time.time()
    ids = service.call(
        "Publish",
        topic=service.topic(),
        messages=[
            {"data": bytes(range(256)), "attributes": {"deviceId": "d1", "ort": "Köln"}},
            {"attributes": {"empty": ""}},
        ],
    ).message_ids
    first, second = sorted(service.pull(2), key=lambda each: each.message.message_id)
    assert [first.message.message_id, second.message.message_id] == sorted(ids)
    full = first if first.message.data else second
    assert full.message.data == bytes(range(256))
    assert dict(full.message.attributes) == {"deviceId": "d1", "ort": "Köln"}
    assert abs(full.message.publish_time.ToNanoseconds() / 1e9 - before) < 60
    assert full.delivery_attempt == 0


def test_id_and_publish_time_are_the_servers_whatever_a_publisher_claims(
    service: Service,
) -> None:
    service.create()
    claimed = {"message_id": "claimed", "publish_time": {"seconds": 1, "nanos": 7}}
    service.call("Publish", topic=service.topic(), messages=[{"data": b"x", **claimed}])
    (received,) = service.pull(1)
    assert received.message.message_id != "claimed"
    assert received.message.publish_time.seconds > 1_000_000_000


def test_every_subscription_gets_its_own_copy_and_later_ones_get_none(service: Service) -> None:
    service.create()
    other, later = service.subscription("other"), service.subscription("later")
    service.call("CreateSubscription", name=other, topic=service.topic())
    service.publish("one")
    service.call("CreateSubscription", name=later, topic=service.topic())
    assert texts(service.pull(1)) == texts(service.pull(1, subscription=other)) == ["one"]
    assert service.pull_now(subscription=later) == []


def test_a_pull_gives_at_most_what_was_asked(service: Service) -> None:
    service.create()
    service.publish("1", "2", "3")
    assert len(service.pull_now(2)) <= 2
    service.refuses("INVALID_ARGUMENT", "Pull", subscription=service.subscription(), max_messages=0)


def test_a_pull_waits_for_the_first_message(service: Service) -> None:
    service.create()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            service.call, "Pull", subscription=service.subscription(), max_messages=5
        )
        time.sleep(0.2)  # so that the pull is under way; whether it is cannot be asked
        service.publish("late")
        assert texts(waiting.result(timeout=8).received_messages) == ["late"]


def test_a_pull_that_the_client_gave_up_takes_no_message(service: Service) -> None:
    service.create()
    # The emulator sees the deadline coming and answers with nothing.
    with contextlib.suppress(grpc.RpcError):
        service.call("Pull", call_seconds=0.2, subscription=service.subscription(), max_messages=1)
    service.publish("one")
    assert texts(service.pull(1)) == ["one"]


def test_a_stream_that_the_client_gave_up_takes_no_message(service: Service) -> None:
    service.create()
    stream = service.stream()
    service.publish("before")
    service.acknowledge(stream.receive())
    stream.cancel()
    service.publish("after")
    assert texts(service.pull(1)) == ["after"]


def test_an_acknowledged_message_is_gone_and_acknowledging_again_is_no_error(
    service: Service,
) -> None:
    service.create()
    service.publish("one")
    received = service.pull(1)
    service.acknowledge(received)
    service.acknowledge(received)
    service.modify(received, 0)
    assert service.pull_now() == []


def test_a_leased_message_is_not_delivered_again_until_its_lease_ends(service: Service) -> None:
    service.create()
    service.publish("one")
    received = service.pull(1)
    assert service.pull_now() == []
    service.modify(received, 1)
    again = service.pull(1)
    assert texts(again) == ["one"]
    assert again[0].ack_id != received[0].ack_id
    assert again[0].message.message_id == received[0].message.message_id


def test_a_nacked_message_comes_back_at_once(service: Service) -> None:
    service.create()
    service.publish("one")
    service.modify(service.pull(1), 0)
    assert texts(service.pull(1)) == ["one"]


def test_a_lease_can_be_prolonged(service: Service) -> None:
    service.create()
    service.publish("one")
    received = service.pull(1)
    service.modify(received, 1)
    service.modify(received, 30)
    time.sleep(1.5)  # past the first deadline
    assert service.pull_now() == []


@pytest.mark.parametrize(
    ("method", "fields", "naming"),
    [
        ("Acknowledge", {}, "ack ids"),
        ("Acknowledge", {"ack_ids": ["garbage"]}, "garbage"),
        ("ModifyAckDeadline", {"ack_ids": ["garbage"], "ack_deadline_seconds": 10}, "garbage"),
        ("ModifyAckDeadline", {"ack_ids": ["garbage"], "ack_deadline_seconds": -1}, ""),
    ],
)
def test_an_acknowledgement_that_makes_no_sense_is_refused(
    service: Service, method: str, fields: dict[str, object], naming: str
) -> None:
    service.create()
    service.refuses(
        "INVALID_ARGUMENT", method, naming=naming, subscription=service.subscription(), **fields
    )


def test_a_stream_delivers_the_backlog_and_what_comes_later(service: Service) -> None:
    service.create()
    service.publish("before")
    stream = service.stream()
    assert texts(stream.receive()) == ["before"]
    service.publish("after")
    assert texts(stream.receive()) == ["after"]


def test_acknowledgements_on_a_stream_are_final(service: Service) -> None:
    service.create()
    service.publish("1", "2", "3")
    stream = service.stream(max_outstanding_messages=1)
    for _ in range(3):
        stream.acknowledge(stream.receive())
    assert stream.stays_silent(0.3)
    stream.half_close()
    assert stream.status() == "OK"
    assert service.pull_now() == []


@emulator_deviates("it takes no notice of flow control")
def test_a_stream_sends_no_more_messages_than_may_be_outstanding(service: Service) -> None:
    service.create()
    service.publish(*map(str, range(10)))
    stream = service.stream(max_outstanding_messages=4)
    received = stream.receive(4)
    assert stream.stays_silent(0.3)
    stream.acknowledge(received[:3])
    stream.receive(3)
    assert stream.stays_silent(0.3)


@emulator_deviates("it takes no notice of flow control")
def test_a_stream_stops_at_its_outstanding_bytes(service: Service) -> None:
    service.create()
    service.publish(*["x" * 1_000] * 10)
    stream = service.stream(max_outstanding_bytes=2_500)
    received = stream.receive(3)
    assert stream.stays_silent(0.3)
    stream.acknowledge(received[:1])
    stream.receive(1)
    assert stream.stays_silent(0.3)


@emulator_deviates("it takes no notice of flow control")
def test_an_acknowledgement_by_unary_call_makes_room_on_a_stream(service: Service) -> None:
    service.create()
    service.publish("1", "2")
    stream = service.stream(max_outstanding_messages=1)
    service.acknowledge(stream.receive())
    stream.receive()


def test_a_nack_on_a_stream_comes_back_on_it(service: Service) -> None:
    service.create()
    (published,) = service.publish("one")
    stream = service.stream()
    (received,) = stream.receive()
    stream.send(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[0])
    (again,) = stream.receive()
    assert again.message.message_id == published


def test_a_shortened_lease_on_a_stream_ends_early(service: Service) -> None:
    service.create()
    service.publish("one")
    stream = service.stream(stream_ack_deadline_seconds=60)
    (received,) = stream.receive()
    stream.send(modify_deadline_ack_ids=[received.ack_id], modify_deadline_seconds=[1])
    stream.receive()


def test_what_a_closed_stream_left_unacknowledged_is_delivered_elsewhere(
    service: Service,
) -> None:
    service.create()
    service.publish("one")
    stream = service.stream()
    received = stream.receive()
    stream.cancel()
    service.modify(received, 1)
    assert texts(service.pull(1)) == ["one"]


@emulator_deviates("it takes no notice of flow control")
def test_two_streams_share_the_messages_of_a_subscription(service: Service) -> None:
    service.create()
    streams = [service.stream(max_outstanding_messages=5) for _ in range(2)]
    service.publish(*map(str, range(10)))
    received = [text for stream in streams for text in texts(stream.receive(5))]
    assert sorted(received) == sorted(map(str, range(10)))


def test_a_stream_ends_well_when_the_client_ends_its_half(service: Service) -> None:
    service.create()
    stream = service.stream()
    stream.half_close()
    assert stream.status() == "OK"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"subscription": ""}, {}),
        ({"stream_ack_deadline_seconds": 0}, {}),
        ({"stream_ack_deadline_seconds": 9}, {}),
        ({"stream_ack_deadline_seconds": 601}, {}),
        ({}, {"subscription": "projects/p/subscriptions/again"}),
        ({}, {"ack_ids": ["garbage"]}),
        ({}, {"modify_deadline_ack_ids": ["1"], "modify_deadline_seconds": []}),
        ({}, {"modify_deadline_ack_ids": ["1"], "modify_deadline_seconds": [-1]}),
    ],
)
def test_a_stream_that_breaks_the_rules_is_aborted(
    service: Service, first: dict[str, object], second: dict[str, object]
) -> None:
    service.create()
    stream = service.stream(**first)
    if second:
        stream.send(**second)
    assert stream.status() == "INVALID_ARGUMENT"


@emulator_deviates("it lets flow control be set again")
@pytest.mark.parametrize("field", ["max_outstanding_messages", "max_outstanding_bytes"])
def test_flow_control_can_be_set_only_at_the_beginning(service: Service, field: str) -> None:
    service.create()
    stream = service.stream()
    stream.send(**{field: 5})
    assert stream.status() == "INVALID_ARGUMENT"


@emulator_deviates("its stream on a missing subscription stays open")
def test_a_stream_on_a_missing_subscription_is_not_found(service: Service) -> None:
    assert service.stream().status() == "NOT_FOUND"


@emulator_deviates("it leaves the streams of a deleted subscription open")
def test_deleting_a_subscription_ends_its_streams(service: Service) -> None:
    service.create()
    service.publish("one")
    stream = service.stream()
    stream.receive()
    service.call("DeleteSubscription", subscription=service.subscription())
    assert stream.status() == "NOT_FOUND"


def test_a_request_of_a_thousand_messages_arrives_whole(service: Service) -> None:
    service.create()
    service.publish(*map(str, range(1_000)), deviceId="d1")
    stream = service.stream()
    received = stream.receive(1_000)
    assert sorted(map(int, texts(received))) == list(range(1_000))
    stream.acknowledge(received)
    stream.half_close()
    assert stream.status() == "OK"
    eventually(lambda: service.pull_now() == [])


def test_a_message_of_nine_million_bytes_passes(service: Service) -> None:
    service.create()
    data = b"x" * 9_000_000
    service.call("Publish", topic=service.topic(), messages=[{"data": data}])
    assert service.pull(1)[0].message.data == data


def test_an_unknown_field_does_not_break_a_message(service: Service) -> None:
    service.create()
    request = message("PublishRequest")(topic=service.topic(), messages=[{"data": b"x"}])
    serialized = request.SerializeToString() + b"\xa2\x06\x03abc"
    parsed = message("PublishRequest").FromString(serialized)
    service.call("Publish", topic=parsed.topic, messages=parsed.messages)
    assert texts(service.pull(1)) == ["x"]
