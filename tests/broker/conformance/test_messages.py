"""Sections 3.3 to 3.11 and 4: messages, acknowledgements, retained messages and subscriptions."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
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
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
)

from broker.auth.principal import Rights, Rules
from mqtt import topics
from mqtt.codec import ProtocolVersion, encode
from tests.broker.conformance.raw import both
from tests.broker.core.harness import ALL, V5, V311, Client, House, service
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


@conforms(
    v5="3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8",
    v311="3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8 3.3.1-10 3.3.1-11 3.3.1-12",
)
@both
def test_a_topic_has_the_last_retained_message(version: ProtocolVersion) -> None:
    house = House()
    writer = house.connect("c1", version)

    def stored() -> list[tuple[bytes, int, bool]]:
        reader = house.connect("c2", version)
        reader.subscribe("a", qos=2)
        return [(p.payload, int(p.qos), p.retain) for p in reader.take(PublishPacket)]

    writer.publish("a", b"not stored", qos=1)
    assert stored() == []
    writer.publish("a", b"1", qos=2, retain=True)
    assert stored() == [(b"1", 2, True)]
    writer.publish("a", b"2", qos=0, retain=True)
    writer.publish("a", b"passes by", qos=1)
    assert stored() == [(b"2", 0, True)]
    writer.publish("a", b"", qos=1, retain=True)
    assert stored() == []
    assert house.core.retained.messages == 0


@conforms(v311="3.3.1-9 3.3.1-8")
def test_a_3_1_1_client_sees_the_flag_on_stored_messages_alone() -> None:
    house = House()
    client = house.connect("c1", V311)
    client.subscribe("a")
    client.publish("a", retain=True)
    assert not client.one(PublishPacket).retain
    client.subscribe("a")
    assert client.one(PublishPacket).retain


@conforms(v5="3.3.1-9 3.3.1-10 3.3.1-11 3.8.4-4")
@pytest.mark.parametrize(
    ("handling", "new", "again"),
    [
        (RetainHandling.SEND_ALWAYS, True, True),
        (RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS, True, False),
        (RetainHandling.SEND_NEVER, False, False),
    ],
)
def test_retain_handling(handling: RetainHandling, new: bool, again: bool) -> None:
    house = House()
    client = house.connect("c1")
    client.publish("a", retain=True)
    client.subscribe("a", retain_handling=handling)
    assert client.payloads() == [b"x"] * new
    client.subscribe("a", retain_handling=handling)
    assert client.payloads() == [b"x"] * again


@conforms(v5="3.3.1-12 3.3.1-13")
def test_retain_as_published() -> None:
    house = House()
    plain, published = house.connect("c1"), house.connect("c2")
    plain.subscribe("a")
    published.subscribe("a", retain_as_published=True)
    for retain in (False, True):
        house.connect("c3").publish("a", retain=retain)
        assert not plain.one(PublishPacket).retain
        assert published.one(PublishPacket).retain is retain


@conforms(
    v5="3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20 3.3.2-3",
    v311="3.3.2-3",
)
def test_what_a_message_bears_is_passed_on_unaltered() -> None:
    house = House()
    properties: dict[str, Any] = {
        "payload_format_indicator": 1,
        "content_type": "text/plain; \u00e9",
        "response_topic": "answers/\u00e9",
        "correlation_data": b"\0\xff",
        "user_properties": [("b", "1"), ("a", ""), ("b", "0"), ("", "\u00e9")],
    }
    readers = [house.connect(f"c{n}") for n in range(3)]
    old = house.connect("c9", V311)
    for reader, qos in zip(readers, (0, 1, 2), strict=True):
        reader.subscribe("some/#", qos=qos)
    old.subscribe("some/+")
    house.connect("c8").publish("some/topic", b"\xff\0", qos=2, **properties)
    for reader in readers:
        got = reader.one(PublishPacket)
        assert (got.topic, got.payload) == ("some/topic", b"\xff\0")
        assert {name: getattr(got, name) for name in properties} == properties
    crossed = old.one(PublishPacket)
    assert (crossed.topic, crossed.payload) == ("some/topic", b"\xff\0")


@conforms(v5="3.3.2-5 3.3.2-6")
def test_a_message_expires_and_says_how_long_it_has_left() -> None:
    house = House()
    house.resume("c1").subscribe("a")
    writer = house.connect("c2")
    house.resume("c1").drop()
    writer.publish("a", b"short", qos=1, message_expiry_interval=5)
    writer.publish("a", b"long", qos=1, message_expiry_interval=50)
    house.wait(20)
    got = house.resume("c1").one(PublishPacket)
    assert (got.payload, got.message_expiry_interval) == (b"long", 30)


@conforms(v5="3.3.2-7 3.3.2-8 3.3.2-9 3.3.2-12")
def test_topic_aliases_of_a_client() -> None:
    house = House(topic_alias_maximum=10)
    reader = house.connect("c1")
    reader.subscribe("#", qos=0)
    client = house.connect("c2")
    for alias in range(1, 11):
        client.publish(f"t/{alias}", topic_alias=alias)
        client.publish("", topic_alias=alias)
    topics_got = [packet.topic for packet in reader.take(PublishPacket)]
    assert topics_got == [f"t/{alias}" for alias in range(1, 11) for _ in range(2)]
    again = house.connect("c2")
    again.publish("", topic_alias=1)
    assert int(again.one(DisconnectPacket).reason_code) == 0x82
    for alias in (0, 11):
        client = house.connect("c2")
        raw = bytearray(PublishPacket("t", b"", topic_alias=9).write())
        raw[raw.index(0x23) + 2] = alias
        client.send_bytes(bytes(raw))
        assert int(client.one(DisconnectPacket).reason_code) == 0x94
    assert reader.payloads() == []


@conforms(v5="3.3.2-14 3.3.4-6")
@pytest.mark.parametrize("bad", [{"response_topic": "a/?"}, {"subscription_ids": [1]}])
def test_what_a_client_may_not_say_of_a_message(bad: dict[str, Any]) -> None:
    house = House()
    client = house.connect("c1")
    client.send_bytes(PublishPacket("a", b"", **bad).write().replace(b"?", b"+"))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82


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


@conforms(v311="3.3.5-2")
def test_a_3_1_1_publish_that_is_not_allowed_is_not_acknowledged_but_closed() -> None:
    house = House()
    house.principals[None] = service(rights=Rights(subscribe=ALL))
    client = house.connect("c1", V311)
    client.publish("a", qos=1)
    assert client.take(PubAckPacket) == []
    assert client.closed is not None


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
