"""Sections 3.3 to 3.7 and 4.3 to 4.9: QoS, acknowledgements, flow control and order."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import (
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRecReasonCode,
    PubRelPacket,
)

from broker.auth.principal import Rights, Rules
from mqtt import topics
from mqtt.codec import ProtocolVersion, encode
from tests.broker.conformance.raw import both
from tests.broker.core.harness import ALL, V311, House, service
from tests.harness.conformance import conforms


def number(packet: PublishPacket) -> int:
    assert packet.packet_id is not None
    return packet.packet_id


@conforms(
    v5="2.2.1-5 3.3.4-1 3.4.2-1 4.3.2-4 4.3.2-5",
    v311="2.3.1-6 3.3.4-1 4.3.2-2",
)
@both
def test_qos_1_is_acknowledged_and_its_identifier_is_then_a_new_message_s(
    version: ProtocolVersion,
) -> None:
    house = House()
    reader, writer = house.connect("c1"), house.connect("c2", version)
    reader.subscribe("a")
    for payload, duplicate in ((b"1", False), (b"2", False), (b"3", True)):
        writer.publish("a", payload, qos=1, packet_id=77, duplicate=duplicate)
        answer = writer.one(PubAckPacket)
        assert (answer.packet_id, int(answer.reason_code)) == (77, 0)
    assert reader.payloads() == [b"1", b"2", b"3"]


@conforms(
    v5="2.2.1-5 3.3.4-1 3.5.2-1 3.7.2-1 4.3.3-8 4.3.3-10 4.3.3-11 4.3.3-12",
    v311="2.3.1-6 3.3.4-1 4.3.3-2",
)
@both
def test_qos_2_is_one_message_until_pubrel_and_a_new_one_afterwards(
    version: ProtocolVersion,
) -> None:
    house = House()
    reader, writer = house.connect("c1"), house.connect("c2", version)
    reader.subscribe("a", qos=0)
    for _ in range(2):
        for duplicate in (False, True, True):
            writer.publish("a", qos=2, packet_id=78, duplicate=duplicate)
            assert writer.one(PubRecPacket).packet_id == 78
        assert reader.payloads() == [b"x"]
        writer.send(PubRelPacket(78))
        assert writer.one(PubCompPacket).packet_id == 78


@conforms(v5="4.3.3-8", v311="4.3.3-2")
@both
def test_who_publishes_to_himself_at_qos_2_gets_pubrec_before_the_message(
    version: ProtocolVersion,
) -> None:
    client = House().connect("c1", version)
    client.subscribe("a", qos=2)
    client.inbox.clear()
    client.publish("a", qos=2)
    assert [type(packet) for packet in client.inbox] == [PubRecPacket, PublishPacket]


@conforms(v5="4.3.3-9")
def test_behind_a_refusing_pubrec_the_identifier_is_a_new_message_s() -> None:
    house = House()
    rules = Rules(allow=(topics.TopicFilter("open"),))
    house.principals[None] = service(rights=Rights(publish=rules, subscribe=ALL, will=ALL))
    client = house.connect("c1")
    client.subscribe("#", qos=0)
    client.publish("closed", qos=2, packet_id=5)
    assert int(client.one(PubRecPacket).reason_code) == 0x87
    client.publish("open", qos=2, packet_id=5)
    assert int(client.one(PubRecPacket).reason_code) == 0
    assert client.payloads() == [b"x"]


@conforms(
    v5="2.2.1-4 3.3.1-1 3.3.1-3 4.3.2-1 4.3.2-2 4.3.2-3 4.4.0-1",
    v311="2.3.1-4 3.3.1-1 3.3.1-3 4.3.2-1 4.4.0-1",
)
@both
def test_qos_1_to_a_client_is_unacknowledged_until_puback(version: ProtocolVersion) -> None:
    house = House()
    reader, writer = house.resume("c1", version), house.connect("c2")
    reader.subscribe("a")
    for payload in (b"1", b"2", b"3"):
        # DUP towards the reader does not follow the writer's.
        writer.publish("a", payload, qos=1, duplicate=True)
    first = reader.take(PublishPacket)
    assert [packet.duplicate for packet in first] == [False] * 3
    assert len({packet.packet_id for packet in first}) == 3
    reader.acknowledge(first[1])
    # Nothing is sent again on the same connection, however long it takes.
    house.wait(1_000)
    assert reader.take(PublishPacket) == []
    reader.drop()
    again = house.resume("c1", version).take(PublishPacket)
    assert [(packet.payload, packet.duplicate) for packet in again] == [(b"1", True), (b"3", True)]
    assert [p.packet_id for p in again] == [first[0].packet_id, first[2].packet_id]


@conforms(v5="4.3.2-3", v311="4.3.2-1")
@both
def test_acknowledgements_just_before_disconnect_count(version: ProtocolVersion) -> None:
    house = House()
    reader, writer = house.resume("c1", version), house.connect("c2")
    reader.subscribe("a")
    for _ in range(3):
        writer.publish("a", qos=1)
    packets: list[Packet] = [PubAckPacket(number(p)) for p in reader.take(PublishPacket)]
    packets += [PingReqPacket(), DisconnectPacket()]
    for small in (packets[3:], packets[4:]):
        reader.send_bytes(b"".join(encode(packet, version) for packet in packets[:3] + small))
        reader = house.resume("c1", version)
        assert reader.take(PublishPacket) == []


@conforms(
    v5="2.2.1-5 3.6.2-1 4.3.3-1 4.3.3-2 4.3.3-3 4.3.3-4 4.3.3-5 4.3.3-6 4.4.0-1",
    v311="2.3.1-6 4.3.3-1 4.4.0-1",
)
@both
def test_qos_2_to_a_client_goes_on_where_it_was(version: ProtocolVersion) -> None:
    house = House()
    reader, writer = house.resume("c1", version), house.connect("c2")
    reader.subscribe("a", qos=2)
    writer.publish("a", qos=2)
    sent = reader.one(PublishPacket)
    assert not sent.duplicate
    reader.drop()
    reader = house.resume("c1", version)
    again = reader.one(PublishPacket)
    assert (again.duplicate, again.packet_id) == (True, sent.packet_id)
    reader.send(PubRecPacket(number(sent)))
    assert reader.one(PubRelPacket).packet_id == sent.packet_id
    reader.drop()
    reader = house.resume("c1", version)
    release = reader.one(PubRelPacket)
    assert (release.packet_id, int(release.reason_code)) == (sent.packet_id, 0)
    assert reader.take(PublishPacket) == []
    reader.send(PubCompPacket(number(sent)))
    reader.drop()
    reader = house.resume("c1", version)
    assert reader.take(PublishPacket) == []
    assert reader.take(PubRelPacket) == []


@conforms(v5="4.3.3-7 4.3.3-13 3.3.2-5")
def test_what_was_sent_does_not_expire_and_what_was_not_does() -> None:
    house = House()
    reader, writer = house.resume("c1", receive_max=1), house.connect("c2")
    reader.subscribe("a", qos=2)
    for payload in (b"sent", b"waits"):
        writer.publish("a", payload, qos=2, message_expiry_interval=10)
    sent = reader.one(PublishPacket)
    house.wait(11)
    reader.send(PubRecPacket(number(sent)))
    assert int(reader.one(PubRelPacket).reason_code) == 0
    reader.send(PubCompPacket(number(sent)))
    assert reader.payloads() == []
    # The writer's own exchange goes on all the same.
    writer.take(PubRecPacket)
    writer.publish("a", b"late", qos=2, packet_id=9, message_expiry_interval=1)
    house.wait(2)
    writer.send(PubRelPacket(9))
    assert int(writer.one(PubCompPacket).reason_code) == 0


@conforms(v5="4.4.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_the_client_refused_is_not_sent_again(qos: int) -> None:
    house = House()
    reader, writer = house.resume("c1"), house.connect("c2")
    reader.subscribe("a", qos=2)
    writer.publish("a", qos=qos)
    sent = number(reader.one(PublishPacket))
    refusal: Any = (
        PubAckPacket(sent, reason_code=PubAckReasonCode.QUOTA_EXCEEDED)
        if qos == 1
        else PubRecPacket(sent, reason_code=PubRecReasonCode.QUOTA_EXCEEDED)
    )
    reader.send(refusal)
    assert reader.take(PubRelPacket) == []
    reader.drop()
    assert house.resume("c1").payloads() == []


@conforms(v5="4.13.1-1", v311="4.8.0-1")
@both
@pytest.mark.parametrize("answer", ["PUBCOMP to QoS 1", "PUBCOMP to QoS 2", "PUBACK to PUBREL"])
def test_an_acknowledgement_of_the_wrong_kind_ends_the_connection(
    version: ProtocolVersion, answer: str
) -> None:
    house = House()
    reader, writer = house.connect("c1", version), house.connect("c2")
    reader.subscribe("a", qos=2)
    writer.publish("a", qos=1 if answer == "PUBCOMP to QoS 1" else 2)
    sent = number(reader.one(PublishPacket))
    if answer == "PUBACK to PUBREL":
        reader.send(PubRecPacket(sent))
        reader.send(PubAckPacket(sent))
    else:
        reader.send(PubCompPacket(sent))
    assert reader.closed is not None


def test_a_refusing_pubrec_for_an_identifier_that_nobody_knows_has_no_answer() -> None:
    client = House().connect("c1")
    client.send(PubRecPacket(7, reason_code=PubRecReasonCode.QUOTA_EXCEEDED))
    assert client.take(PubRelPacket) == []
    client.send(PubRecPacket(7))
    assert int(client.one(PubRelPacket).reason_code) == 0x92


@conforms(v5="3.3.4-9 3.3.4-10 4.9.0-1 4.9.0-2 4.9.0-3")
def test_the_receive_maximum_holds_messages_back_and_nothing_else() -> None:
    house = House()
    reader, writer = house.connect("c1", receive_max=2), house.connect("c2")
    reader.subscribe("a", qos=2)
    for payload in (b"1", b"2", b"3", b"4"):
        writer.publish("a", payload, qos=2)
    first = reader.take(PublishPacket)
    assert [packet.payload for packet in first] == [b"1", b"2"]
    # A QoS 0 message, a ping and a SUBSCRIBE are answered.
    reader.send(PingReqPacket())
    assert reader.one(PingRespPacket)
    assert reader.subscribe("b") == [1]
    reader.send(PubRecPacket(number(first[0])))
    assert reader.one(PubRelPacket)
    assert reader.payloads() == []
    reader.send(PubCompPacket(number(first[0])))
    assert reader.payloads() == [b"3"]


@conforms(v5="3.3.4-7")
def test_a_client_that_exceeds_the_servers_receive_maximum_is_disconnected() -> None:
    house = House(receive_maximum=2)
    client = house.connect("c1")
    for _ in range(3):
        client.publish("a", qos=2)
    assert int(client.one(DisconnectPacket).reason_code) == 0x93


@conforms(
    v5="4.5.0-1 4.6.0-5 4.6.0-6",
    v311="4.5.0-1 4.6.0-5 4.6.0-6",
)
@both
def test_every_subscriber_gets_every_message_in_order(version: ProtocolVersion) -> None:
    house = House()
    here, away = house.resume("c1", version), house.resume("c2", version)
    for client in (here, away):
        client.subscribe("a/#", "b", qos=2)
    away.drop()
    writer = house.connect("c3", version)
    for count in range(40):
        writer.publish("a/b", b"%d" % count, qos=1 + count % 2)
    expected = [b"%d" % count for count in range(40)]
    assert here.payloads() == expected
    assert house.resume("c2", version).payloads() == expected


@conforms(v311="3.3.5-2")
def test_a_3_1_1_publish_that_is_not_allowed_is_not_acknowledged_but_closed() -> None:
    house = House()
    house.principals[None] = service(rights=Rights(subscribe=ALL))
    client = house.connect("c1", V311)
    client.publish("a", qos=1)
    assert client.take(PubAckPacket) == []
    assert client.closed is not None


@conforms(v5="3.1.2-24 3.1.2-25")
def test_a_message_that_is_too_large_for_a_client_counts_as_delivered() -> None:
    house = House()
    small, large = house.resume("c1", max_packet_size=50, receive_max=1), house.connect("c2")
    for client in (small, large):
        client.subscribe("a")
    writer = house.connect("c3")
    writer.publish("a", b"x" * 100, qos=1)
    writer.publish("a", b"fits", qos=1)
    assert small.payloads() == [b"fits"]
    assert len(large.payloads()) == 2
    small.drop()
    assert house.resume("c1").payloads() == [b"fits"]
