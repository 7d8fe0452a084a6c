"""Sections 3.8 to 3.11, 4.7 and 4.8: subscriptions, and who gets what by them."""

from __future__ import annotations

from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
)

from broker.auth.principal import Rights, Rules
from mqtt import topics
from mqtt.codec import ProtocolVersion
from tests.broker.conformance.raw import both
from tests.broker.core.harness import ALL, V5, Client, House, service
from tests.harness.conformance import conforms


def number(packet: PublishPacket) -> int:
    assert packet.packet_id is not None
    return packet.packet_id


@conforms(v5="3.3.4-2 3.3.4-3 3.3.4-4 3.8.4-8", v311="3.3.5-1 3.8.4-6")
@both
def test_overlapping_subscriptions_give_one_message_of_the_highest_qos(
    version: ProtocolVersion,
) -> None:
    house = House()
    client = house.connect("c1", version)
    five = version is V5
    for identifier, (pattern, qos) in enumerate([("a/b", 0), ("a/+", 2), ("#", 1), ("b", 2)], 1):
        client.subscribe(pattern, qos=qos, identifier=identifier if five else None)
    for published in (0, 1, 2):
        house.connect("c2").publish("a/b", qos=published)
        got = client.one(PublishPacket)
        assert int(got.qos) == published
        assert sorted(got.subscription_ids) == ([1, 2, 3] if five else [])


@conforms(v5="3.8.3-3")
def test_no_local() -> None:
    house = House()
    client, other = house.connect("c1"), house.connect("c2")
    client.subscribe("a", no_local=True)
    client.publish("a", b"own")
    other.publish("a", b"other's")
    assert client.payloads() == [b"other's"]


@conforms(v5="3.8.3-4")
def test_no_local_is_not_for_shared_subscriptions() -> None:
    client = House().connect("c1")
    client.send(SubscribePacket(1, [TopicFilter("$share/g/a", no_local=True)]))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82


@conforms(
    v5="3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 3.10.4-6 3.11.3-1 3.11.3-2",
    v311="3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2 3.10.4-6",
)
@both
def test_several_filters_have_one_answer_with_a_code_for_each_in_order(
    version: ProtocolVersion,
) -> None:
    house = House()
    rules = Rules(allow=(topics.TopicFilter("open/#"),))
    house.principals[None] = service(rights=Rights(publish=ALL, subscribe=rules))
    client = house.connect("c1", version)
    patterns = [("open/2", 2), ("closed", 2), ("open/0", 0), ("open/1", 1)]
    client.send(
        SubscribePacket(
            1, [TopicFilter(p, max_qos=QoS(q), retain_as_published=False) for p, q in patterns]
        )
    )
    refused = 0x87 if version is V5 else 0x80
    assert list(map(int, client.one(SubAckPacket).reason_codes)) == [2, refused, 0, 1]
    client.send(UnsubscribePacket(2, ["open/0", "closed", "open/2"]))
    answer = client.one(UnsubAckPacket)
    assert answer.packet_id == 2
    if version is V5:
        assert list(map(int, answer.reason_codes)) == [0, 0x11, 0]
    for topic in ("open/0", "open/1", "open/2"):
        client.publish(topic, topic.encode())
    assert client.payloads() == [b"open/1"]


@conforms(v5="3.8.4-3 3.8.4-4 3.8.4-8", v311="3.8.4-3 3.8.4-6")
@both
def test_the_same_filter_replaces_the_subscription_and_loses_nothing(
    version: ProtocolVersion,
) -> None:
    house = House()
    client, writer = house.connect("c1", version), house.connect("c2")
    writer.publish("a", b"kept", retain=True)
    client.subscribe("a", qos=2)
    assert client.payloads() == [b"kept"]
    writer.publish("a", b"1", qos=2)
    client.subscribe("a", qos=0)
    assert [int(packet.qos) for packet in client.take(PublishPacket)] == [2, 0]
    writer.publish("a", b"2", qos=2)
    got = client.one(PublishPacket)
    assert (got.payload, int(got.qos)) == (b"2", 0)


@conforms(
    v5="3.10.4-1 3.10.4-2 3.10.4-3",
    v311="3.10.4-1 3.10.4-2 3.10.4-3",
)
@both
def test_unsubscribe_ends_the_very_filter_and_completes_what_was_begun(
    version: ProtocolVersion,
) -> None:
    house = House()
    client, writer = house.resume("c1", version), house.connect("c2")
    client.subscribe("a/+", "a/#", qos=2)
    writer.publish("a/b", b"begun", qos=2)
    begun = client.one(PublishPacket)
    client.send(UnsubscribePacket(1, ["a/b", "a/+", "A/#"]))
    writer.publish("a/c", b"still")
    assert client.payloads() == [b"still"]
    client.send(UnsubscribePacket(1, ["a/#"]))
    writer.publish("a/c", b"no more", qos=2)
    assert client.payloads() == []
    client.drop()
    client = house.resume("c1", version)
    assert client.one(PublishPacket).packet_id == begun.packet_id
    client.send(PubRecPacket(number(begun)))
    assert client.one(PubRelPacket)


@conforms(v5="4.7.2-1", v311="4.7.2-1")
@both
def test_a_leading_wildcard_matches_no_topic_with_a_dollar(version: ProtocolVersion) -> None:
    house = House()
    client = house.connect("c1", version)
    client.subscribe("#", "+/a", "$test/+")
    house.connect("c2").publish("$test/a", b"dollar")
    assert client.payloads() == [b"dollar"]
    client.send(UnsubscribePacket(1, ["$test/+"]))
    house.connect("c2").publish("$test/a", b"dollar")
    assert client.payloads() == []


@conforms(v5="4.8.2-3 4.8.2-4 4.8.2-5 4.8.2-6")
def test_a_shared_qos_2_message_stays_with_its_member() -> None:
    house = House()
    first, second = house.resume("c1"), house.resume("c2")
    first.subscribe("$share/g/a", qos=2)
    second.subscribe("$share/g/a", qos=1)
    writer = house.connect("c3")
    writer.publish("a", b"1", qos=2)
    writer.publish("a", b"2", qos=2)
    begun = first.one(PublishPacket)
    assert (begun.payload, int(begun.qos)) == (b"1", 2)
    lower = second.one(PublishPacket)
    assert (lower.payload, int(lower.qos)) == (b"2", 1)
    second.send(PubAckPacket(number(lower), reason_code=PubAckReasonCode.QUOTA_EXCEEDED))
    first.drop()
    assert second.payloads() == []
    back: Client = house.resume("c1")
    assert back.one(ConnAckPacket).session_present
    assert back.one(PublishPacket).payload == b"1"
    back.send(DisconnectPacket(session_expiry_interval=0))
    assert second.payloads() == []


@conforms(v5="3.9.3-1 3.8.4-7", v311="3.9.3-1 3.8.4-5")
@both
def test_a_filter_that_is_refused_to_all_is_refused_as_it_stands(version: ProtocolVersion) -> None:
    house = House(refused_filters=("#", "a/b"))
    client = house.connect("c1", version)
    refusal = 0x87 if version is V5 else 0x80
    codes = client.subscribe("#", "$share/g/#", "a/b", "a/+", "+/b", "a/#")
    assert codes == [refusal, refusal, refusal, 1, 1, 1]
    client.publish("a/b", b"once")
    assert client.payloads() == [b"once"]
