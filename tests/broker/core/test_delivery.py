"""Messages reach who subscribed, in order, as often as their quality of service promises."""

from __future__ import annotations

import pytest
from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    UnsubAckPacket,
    UnsubscribePacket,
)

from mqtt.codec import ProtocolVersion, encode
from tests.broker.core.harness import V5, V311, House
from tests.harness.conformance import conforms


@pytest.mark.parametrize("protocol", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_reaches_its_subscriber_at_the_lower_qos(
    protocol: ProtocolVersion, qos: int
) -> None:
    house = House()
    subscriber = house.connect("c1", protocol)
    assert subscriber.subscribe("a/+", qos=1) == [1]
    house.connect("c2", protocol).publish("a/b", b"hello", qos=qos)
    got = subscriber.one(PublishPacket)
    assert (got.topic, got.payload, int(got.qos)) == ("a/b", b"hello", min(qos, 1))


def test_mqtt_4_3_2_qos_1_is_acknowledged_with_its_identifier() -> None:
    house = House()
    house.connect("c1").subscribe("a")
    publisher = house.connect("c2")
    publisher.publish("a", qos=1, packet_id=77)
    acknowledgement = publisher.one(PubAckPacket)
    assert (acknowledgement.packet_id, int(acknowledgement.reason_code)) == (77, 0)


def test_a_publish_that_nobody_gets_is_answered_with_no_matching_subscribers() -> None:
    publisher = House().connect()
    publisher.publish("a", qos=1)
    assert int(publisher.one(PubAckPacket).reason_code) == 0x10
    publisher.publish("a", qos=2)
    assert int(publisher.one(PubRecPacket).reason_code) == 0x10


def test_an_offline_session_counts_as_a_subscriber() -> None:
    house = House()
    away = house.resume("c1")
    away.subscribe("a")
    away.drop()
    publisher = house.connect("c2")
    publisher.publish("a", qos=1)
    assert int(publisher.one(PubAckPacket).reason_code) == 0


def test_mqtt_4_3_3_qos_2_is_delivered_once_however_often_it_is_sent() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    publisher.publish("a", qos=2, packet_id=5)
    publisher.publish("a", qos=2, packet_id=5, duplicate=True)
    assert len(publisher.take(PubRecPacket)) == 2
    assert len(subscriber.payloads()) == 1
    publisher.send(PubRelPacket(5))
    assert int(publisher.one(PubCompPacket).reason_code) == 0
    publisher.publish("a", qos=2, packet_id=5)
    assert len(subscriber.payloads()) == 1


def test_pubrel_for_an_unknown_identifier_is_answered_with_0x92() -> None:
    client = House().connect()
    client.send(PubRelPacket(9))
    assert int(client.one(PubCompPacket).reason_code) == 0x92


def test_mqtt_4_3_3_qos_2_towards_a_client_takes_all_four_steps() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a", qos=2)
    house.connect("c2").publish("a", qos=2)
    message = subscriber.one(PublishPacket)
    assert message.packet_id is not None
    subscriber.send(PubRecPacket(message.packet_id))
    assert subscriber.one(PubRelPacket).packet_id == message.packet_id
    subscriber.send(PubCompPacket(message.packet_id))
    assert not house.core.sessions.get("c1").released  # type: ignore[union-attr] # the session is there


def test_mqtt_3_3_4_9_no_more_than_receive_maximum_are_unacknowledged() -> None:
    house = House()
    subscriber = house.connect("c1", receive_max=2)
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    for number in range(5):
        publisher.publish("a", b"%d" % number, qos=1)
    first = subscriber.take(PublishPacket)
    assert [packet.payload for packet in first] == [b"0", b"1"]
    subscriber.acknowledge(first[0])
    assert subscriber.payloads() == [b"2"]
    subscriber.acknowledge(first[1])
    assert subscriber.payloads() == [b"3"]


def test_mqtt_4_4_0_1_what_was_not_acknowledged_comes_again_with_dup_in_order() -> None:
    house = House()
    subscriber = house.resume("c1", receive_max=3)
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    for number in range(5):
        publisher.publish("a", b"%d" % number, qos=1)
    sent = subscriber.take(PublishPacket)
    subscriber.acknowledge(sent[1])
    subscriber.drop()
    publisher.publish("a", b"5", qos=1)
    again = house.resume("c1", receive_max=2)
    assert again.one(ConnAckPacket).session_present
    everything = []
    while messages := again.take(PublishPacket):
        assert len(messages) <= 2
        for packet in messages:
            everything.append((packet.payload, packet.duplicate))
            again.acknowledge(packet)
    assert everything == [
        (b"0", True),
        (b"2", True),
        (b"3", True),
        (b"4", False),
        (b"5", False),
    ]


def test_mqtt_4_4_0_1_a_released_qos_2_message_is_completed_after_reconnecting() -> None:
    house = House()
    subscriber = house.resume("c1")
    subscriber.subscribe("a", qos=2)
    house.connect("c2").publish("a", qos=2)
    message = subscriber.one(PublishPacket)
    assert message.packet_id is not None
    subscriber.send(PubRecPacket(message.packet_id))
    subscriber.drop()
    again = house.resume("c1")
    assert again.one(PubRelPacket).packet_id == message.packet_id
    assert again.payloads() == []


def test_qos_0_is_not_kept_for_a_client_that_is_away() -> None:
    house = House()
    subscriber = house.resume("c1")
    subscriber.subscribe("a")
    subscriber.drop()
    house.connect("c2").publish("a", qos=0)
    assert house.resume("c1").payloads() == []


def test_mqtt_3_10_4_what_is_in_flight_stays_after_unsubscribe() -> None:
    house = House()
    subscriber = house.resume("c1", receive_max=1)
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    publisher.publish("a", b"1", qos=1)
    publisher.publish("a", b"2", qos=1)
    subscriber.send(UnsubscribePacket(3, ["a", "b"]))
    assert [int(code) for code in subscriber.one(UnsubAckPacket).reason_codes] == [0, 0x11]
    publisher.publish("a", b"3", qos=1)
    first = subscriber.one(PublishPacket)
    subscriber.acknowledge(first)
    assert (first.payload, subscriber.payloads()) == (b"1", [b"2"])


def test_mqtt_3_3_4_overlapping_subscriptions_give_one_message_with_the_highest_qos() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a/#", qos=0, identifier=1)
    subscriber.subscribe("a/b", qos=1, identifier=2)
    house.connect("c2").publish("a/b", qos=1)
    got = subscriber.one(PublishPacket)
    assert (int(got.qos), sorted(got.subscription_ids)) == (1, [1, 2])


def test_mqtt_3_8_3_3_no_local_keeps_a_clients_own_messages_away() -> None:
    house = House()
    client = house.connect("c1")
    client.subscribe("a", no_local=True)
    client.publish("a", qos=1)
    assert int(client.one(PubAckPacket).reason_code) == 0x10
    assert client.payloads() == []
    house.connect("c2").publish("a", b"other")
    assert client.payloads() == [b"other"]


def test_properties_are_passed_on_untouched() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a")
    properties = {
        "payload_format_indicator": 1,
        "content_type": "application/json",
        "response_topic": "r",
        "correlation_data": b"\x00\x01",
        "user_properties": [("message-id", "1"), ("message-id", "2")],
    }
    house.connect("c2").publish("a", **properties)  # type: ignore[arg-type] # keywords of PublishPacket
    got = subscriber.one(PublishPacket)
    assert {name: getattr(got, name) for name in properties} == properties


def test_mqtt_3_3_2_6_the_expiry_interval_is_reduced_by_the_time_waited() -> None:
    house = House()
    subscriber = house.resume("c1")
    subscriber.subscribe("a")
    subscriber.drop()
    publisher = house.connect("c2")
    publisher.publish("a", b"short", qos=1, message_expiry_interval=5)
    publisher.publish("a", b"long", qos=1, message_expiry_interval=60)
    house.wait(10)
    got = house.resume("c1").one(PublishPacket)
    assert (got.payload, got.message_expiry_interval) == (b"long", 50)
    assert house.core.counters.dropped_expired == 1


def test_mqtt_3_1_2_24_a_message_too_large_for_a_client_is_dropped_for_it_alone() -> None:
    house = House()
    small = house.connect("c1", max_packet_size=50)
    large = house.connect("c2")
    small.subscribe("a")
    large.subscribe("a")
    publisher = house.connect("c3")
    publisher.publish("a", b"x" * 100, qos=1)
    publisher.publish("a", b"y", qos=1)
    assert (small.payloads(), small.closed) == ([b"y"], None)
    assert large.payloads() == [b"x" * 100, b"y"]
    assert house.core.counters.dropped_too_large == 1


def test_a_message_crosses_from_5_0_to_3_1_1_and_back() -> None:
    house = House()
    old, new = house.connect("c1", V311), house.connect("c2")
    old.subscribe("a")
    new.subscribe("b")
    new.publish("a", b"down", qos=1, content_type="text/plain")
    old.publish("b", b"up", qos=1)
    assert old.payloads() == [b"down"]
    assert new.payloads() == [b"up"]


def test_bytes_are_made_once_for_all_subscribers_that_get_the_same() -> None:
    house = House()
    subscribers = [house.connect(f"c{number}") for number in range(3)]
    for client in subscribers:
        client.subscribe("a")
    house.connect("c9").publish("a", b"same", qos=1)
    sessions = [house.core.sessions.get(f"c{number}") for number in range(3)]
    frames = [next(iter(s.unacknowledged.values())).message for s in sessions if s is not None]
    assert frames[0] is frames[1] is frames[2]
    assert len(frames[0]._frames or ()) == 1


@conforms(v5="4.6.0-5 4.6.0-6", v311="4.6.0-5 4.6.0-6")
def test_mqtt_4_6_order_is_kept_between_queued_and_new_messages() -> None:
    house = House()
    subscriber = house.resume("c1")
    subscriber.subscribe("a")
    subscriber.reads = False
    publisher = house.connect("c2")
    big = b"x" * 600_000
    for number in range(4):
        publisher.publish("a", b"%d" % number + big, qos=number % 2)
    subscriber.reads = True
    house.core.passed_on(subscriber.connection, 0, house.now)
    house.settle()
    publisher.publish("a", b"4", qos=1)
    assert [payload[:1] for payload in subscriber.payloads()] == [b"0", b"1", b"2", b"3", b"4"]


def test_acknowledging_a_qos_1_message_as_qos_2_is_a_protocol_error() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a")
    house.connect("c2").publish("a", qos=1)
    message = subscriber.one(PublishPacket)
    assert message.qos == QoS.AT_LEAST_ONCE
    assert message.packet_id is not None
    subscriber.send(PubRecPacket(message.packet_id))
    assert subscriber.closed is not None


@conforms(v5="4.4.0-1 4.6.0-5", v311="4.4.0-1 4.6.0-6")
def test_mqtt_4_6_0_1_order_survives_a_reconnect_that_could_not_send_everything_again() -> None:
    house = House()
    first = house.resume("c1")
    first.subscribe("a")
    publisher = house.connect("c2")
    for number in range(3):
        publisher.publish("a", b"%d" % number, qos=1)
    first.drop()
    second = house.resume("c1", receive_max=1)
    assert second.payloads() == [b"0"]
    second.drop()
    assert house.resume("c1").payloads() == [b"0", b"1", b"2"]


def test_qos_0_does_not_wait_for_acknowledgements() -> None:
    house = House()
    subscriber = house.connect("c1", receive_max=1)
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    publisher.publish("a", b"1", qos=1)
    publisher.publish("a", b"2", qos=0)
    assert subscriber.payloads() == [b"1", b"2"]


@pytest.mark.parametrize("protocol", [V5, V311])
def test_acknowledgements_in_a_row_free_as_much_room_as_one_by_one(
    protocol: ProtocolVersion,
) -> None:
    house = House(in_flight_messages=2)
    subscriber = house.connect("c1", protocol)
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    for number in range(5):
        publisher.publish("a", b"%d" % number, qos=1)
    for expected in ([b"0", b"1"], [b"2", b"3"], [b"4"]):
        got = subscriber.take(PublishPacket)
        assert [packet.payload for packet in got] == expected
        row = b"".join(b"\x40\x02" + (packet.packet_id or 0).to_bytes(2) for packet in got)
        subscriber.send_bytes(row)
    session = house.core.sessions.get("c1")
    assert session is not None
    assert not session.unacknowledged


def test_acknowledgements_in_a_row_are_taken_behind_what_came_before_them() -> None:
    house = House()
    client = house.connect("c1")
    client.subscribe("a")
    house.connect("c2").publish("a", qos=1)
    message = client.one(PublishPacket)
    assert message.packet_id is not None
    acknowledgement = b"\x40\x02" + message.packet_id.to_bytes(2)
    client.send_bytes(encode(DisconnectPacket(), V5) + acknowledgement)
    assert client.closed == "client: normal_disconnection"
    # Nothing is taken from a client that has said goodbye.
    assert house.core.counters.protocol_errors == 0
