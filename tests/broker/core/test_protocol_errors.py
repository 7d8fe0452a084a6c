"""What breaks the protocol is answered with its reason code and the connection is closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mqtt5 import (
    AuthPacket,
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    Packet,
    PubAckPacket,
    PublishPacket,
    PubRecPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
    Will,
)

from broker.auth.principal import Rights, Rules
from mqtt import topics
from mqtt.codec import ProtocolVersion, encode
from mqtt.errors import ProtocolError
from tests.broker.core.harness import V5, V311, Client, House, device, service


def disconnected(client: Client) -> int:
    code = int(client.one(DisconnectPacket).reason_code)
    assert client.closed is not None
    return code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x30\x05\x00\x03a/#\x00", 0x81, id="MQTT-3.3.2-2 wildcard in a topic"),
        pytest.param(b"\x30\x04\x00\x01\xff\x00", 0x81, id="MQTT-1.5.4-1 topic is no UTF-8"),
        pytest.param(b"\x36\x06\x00\x01a\x00\x01\x00", 0x81, id="MQTT-3.3.1-4 QoS 3"),
        pytest.param(b"\x38\x04\x00\x01a\x00", 0x81, id="MQTT-3.3.1-2 QoS 0 with DUP"),
        pytest.param(b"\x32\x06\x00\x01a\x00\x00\x00", 0x81, id="MQTT-2.2.1-3 identifier 0"),
        pytest.param(b"\x30\x03\x00\x00\x00", 0x82, id="neither topic nor alias"),
        pytest.param(b"\x20\x03\x00\x00\x00", 0x82, id="CONNACK from a client"),
        pytest.param(b"\xff\xff\xff\xff\xff\x01", 0x81, id="remaining length of five bytes"),
        pytest.param(b"\x82\x03\x00\x01\x00", 0x82, id="MQTT-3.8.3-2 SUBSCRIBE without filters"),
        pytest.param(b"\xa2\x03\x00\x01\x00", 0x82, id="MQTT-3.10.3-2 UNSUBSCRIBE without filters"),
        pytest.param(b"\x82\x07\x00\x01\x00\x00\x01a\x40", 0x81, id="MQTT-3.8.3-5 reserved bits"),
        pytest.param(b"\x30\x08\x00\x01a\x03\x23\x00\x00x", 0x94, id="MQTT-3.3.2-8 alias 0"),
        pytest.param(b"\x82\x07\x00\x00\x00\x00\x01a\x00", 0x81, id="MQTT-2.2.1-3 SUBSCRIBE 0"),
    ],
)
def test_bytes_that_break_the_protocol(data: bytes, code: int) -> None:
    client = House().connect()
    client.send_bytes(data)
    assert disconnected(client) == code


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x30\x08\x00\x01a\x03\x23\x00\x00x", id="alias 0"),
        pytest.param(b"\x30\x05\x00\x03a/#\x00", id="wildcard in a topic"),
        pytest.param(b"\x30\x03\x00\x00\x00", id="neither topic nor alias"),
        pytest.param(b"\x20\x03\x00\x00\x00", id="CONNACK from a client"),
        pytest.param(b"\xff\xff\xff\xff\xff\x01", id="remaining length of five bytes"),
        pytest.param(b"\x30\xff\xff\xff\x7f", id="too large"),
    ],
)
def test_what_breaks_the_protocol_behind_connect_is_answered_with_a_code_that_connack_has(
    bad: bytes, protocol: ProtocolVersion
) -> None:
    house = House()
    house.answer_logins = False
    client = house.open(protocol)
    client.send_bytes(encode(ConnectPacket("c"), protocol) + bad)
    if client.closed is None:
        # On 3.1.1 it is a good packet, which waits.
        assert protocol is V311
        assert client.connection.held
        return
    if protocol is V5:
        assert int(client.one(ConnAckPacket).reason_code) in (0x81, 0x82, 0x95)
    assert client.inbox == []
    assert not house.core.connections


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize("kind", ["SUBSCRIBE", "UNSUBSCRIBE"])
def test_a_packet_of_more_filters_than_a_session_may_have_ends_its_connection(
    kind: str, protocol: ProtocolVersion
) -> None:
    def of(count: int) -> bytes:
        names = [f"a/{number}" for number in range(count)]
        packet: Packet = UnsubscribePacket(1, names)
        if kind == "SUBSCRIBE":
            filters = [TopicFilter(name, retain_as_published=False) for name in names]
            packet = SubscribePacket(1, filters)
        return encode(packet, protocol)

    house = House(subscriptions_per_session=1_100)
    client = house.connect("c", protocol)
    client.inbox.clear()
    client.send_bytes(of(1_100))
    assert len(client.inbox) == 1
    assert client.closed is None
    client.inbox.clear()
    client.send_bytes(of(1_101))
    assert client.closed is not None
    if protocol is V5:
        assert disconnected(client) == 0x97


@pytest.mark.parametrize("kind", [SubscribePacket, UnsubscribePacket])
def test_ten_packets_of_that_many_filters_are_handled_at_once_and_no_more(
    kind: type[SubscribePacket | UnsubscribePacket],
) -> None:
    packet: Packet = UnsubscribePacket(1, ["a"] * 1_000)
    if kind is SubscribePacket:
        packet = SubscribePacket(1, [TopicFilter("a")] * 1_000)
    house = House()
    client = house.connect()
    client.send_bytes(packet.write() * 10)
    assert client.closed is None
    house.wait(0.001)
    client.send_bytes(packet.write() * 11)
    assert disconnected(client) == 0x96


def test_a_packet_of_a_thousand_filters_is_answered_however_few_a_session_may_have() -> None:
    client = House(subscriptions_per_session=1).connect()
    codes = client.subscribe(*(f"a/{number}" for number in range(1_000)))
    assert codes == [1] + [0x97] * 999


def test_how_many_filters_a_packet_may_have_follows_the_limit_while_clients_are_connected() -> None:
    house = House()
    client = house.connect()
    house.core.change_limits(replace(house.limits, subscriptions_per_session=2_000))
    assert client.subscribe(*(f"a/{number}" for number in range(2_000))) == [1] * 2_000


_MANY = [("", "")] * 1_001


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(PublishPacket("a", b"", user_properties=_MANY), id="PUBLISH"),
        pytest.param(SubscribePacket(1, [TopicFilter("a")], user_properties=_MANY), id="SUBSCRIBE"),
        pytest.param(UnsubscribePacket(1, ["a"], user_properties=_MANY), id="UNSUBSCRIBE"),
        pytest.param(PubAckPacket(1, user_properties=_MANY), id="PUBACK"),
        pytest.param(DisconnectPacket(user_properties=_MANY), id="DISCONNECT"),
        pytest.param(AuthPacket(user_properties=_MANY), id="AUTH"),
        pytest.param(
            PublishPacket("a", b"", subscription_ids=[1] * 3_000), id="subscription identifiers"
        ),
    ],
)
def test_a_packet_of_more_than_a_thousand_properties_ends_its_connection(packet: Packet) -> None:
    client = House().connect()
    client.send(packet)
    assert disconnected(client) == 0x97


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ConnectPacket("c", user_properties=_MANY), id="its own"),
        pytest.param(
            ConnectPacket("c", will=Will("w", payload=b"", user_properties=_MANY)), id="its will's"
        ),
    ],
)
def test_a_connect_of_more_than_a_thousand_properties_is_refused(packet: Packet) -> None:
    client = House().open()
    client.send(packet)
    assert int(client.one(ConnAckPacket).reason_code) == 0x97
    assert client.closed is not None


def test_a_thousand_properties_are_passed_on() -> None:
    house = House()
    client = house.connect()
    client.subscribe("a")
    client.publish("a", user_properties=_MANY[:1_000])
    assert len(client.one(PublishPacket).user_properties) == 1_000


@pytest.mark.parametrize("code", [0x84, 0x85, 0x91])
def test_a_code_that_disconnect_does_not_have_is_told_as_a_protocol_error(code: int) -> None:
    client = House().connect()
    client.house.core._ending.violated(
        client.connection, ProtocolError("nothing for it", reason_code=code), client.house.now
    )
    client.house.settle()
    assert disconnected(client) == 0x82


def test_what_came_before_the_bad_packet_is_still_handled() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    publisher.send_bytes(PublishPacket("a", b"good").write() + b"\x36\x03\x00\x01a")
    assert subscriber.payloads() == [b"good"]
    assert disconnected(publisher) == 0x81


def test_mqtt_4_13_a_3_1_1_client_is_closed_without_a_word() -> None:
    client = House().connect("c", V311)
    client.inbox.clear()
    client.send_bytes(b"\x30\x05\x00\x03a/#")
    assert client.inbox == []
    assert client.closed


def test_mqtt_3_3_4_6_a_subscription_identifier_from_a_client_is_a_protocol_error() -> None:
    client = House().connect()
    client.publish("a", subscription_ids=[1])
    assert disconnected(client) == 0x82


def test_a_wildcard_in_a_response_topic_is_a_protocol_error() -> None:
    client = House().connect()
    client.send_bytes(PublishPacket("a", b"", response_topic="r/x").write().replace(b"r/x", b"r/#"))
    assert disconnected(client) == 0x82


@pytest.mark.parametrize("pattern", ["a/#/b", "a+", "$share/g", "$share//a", "$share/g+/a"])
def test_mqtt_4_7_1_a_filter_that_is_no_filter_is_answered_with_0x8f(pattern: str) -> None:
    text = len(pattern).to_bytes(2, "big") + pattern.encode()
    for body, first in ((text + b"\x00", 0x82), (text, 0xA2)):
        client = House().connect()
        client.send_bytes(bytes((first, 3 + len(body))) + b"\x00\x01\x00" + body)
        assert disconnected(client) == 0x8F


def test_mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() -> None:
    client = House().connect()
    client.send(SubscribePacket(1, [TopicFilter("$share/g/a", no_local=True)]))
    assert disconnected(client) == 0x82


def test_a_packet_larger_than_announced_is_answered_with_0x95() -> None:
    client = House(maximum_packet_bytes=100).connect()
    client.publish("a", b"x" * 200)
    assert disconnected(client) == 0x95


def test_mqtt_3_3_4_7_more_than_receive_maximum_is_answered_with_0x93() -> None:
    client = House(receive_maximum=2).connect()
    for number in range(2):
        client.publish("a", qos=2, packet_id=number + 1)
    assert client.closed is None
    client.publish("a", qos=2, packet_id=3)
    assert disconnected(client) == 0x93


def test_topics_and_filters_have_a_number_of_levels() -> None:
    house = House(topic_levels=3)
    client = house.connect()
    assert client.subscribe("a/b/c", "a/b/c/d", "a/b/c/#") == [1, 0x8F, 0x8F]
    client.publish("a/b/c", b"fits")
    assert client.payloads() == [b"fits"]
    client.publish("a/b/c/d")
    assert disconnected(client) == 0x90


@pytest.mark.parametrize("qos", [1, 2])
def test_a_topic_of_too_many_levels_is_refused_where_an_acknowledgement_can_say_so(
    qos: int,
) -> None:
    client = House(topic_levels=3).connect()
    client.publish("a/b/c/d", qos=qos, packet_id=1)
    client.publish("a", qos=1, packet_id=2)
    answers: list[PubRecPacket | PubAckPacket] = [*client.take(PubRecPacket)]
    answers += client.take(PubAckPacket)
    assert [(answer.packet_id, int(answer.reason_code)) for answer in answers] == [
        (1, 0x90),
        (2, 0x10),
    ]
    assert client.closed is None


def test_topic_aliases_are_resolved() -> None:
    house = House()
    subscriber = house.connect("c1")
    subscriber.subscribe("a/b", "c")
    publisher = house.connect("c2")
    publisher.publish("a/b", b"1", topic_alias=1)
    publisher.publish("", b"2", topic_alias=1)
    publisher.publish("c", b"3", topic_alias=1)
    publisher.publish("", b"4", topic_alias=1)
    got = subscriber.take(PublishPacket)
    assert [(packet.topic, packet.payload) for packet in got] == [
        ("a/b", b"1"),
        ("a/b", b"2"),
        ("c", b"3"),
        ("c", b"4"),
    ]
    assert all(packet.topic_alias is None for packet in got)


def test_mqtt_3_3_2_8_an_alias_above_the_maximum_is_answered_with_0x94() -> None:
    client = House(topic_alias_maximum=2).connect()
    client.publish("a", topic_alias=3)
    assert disconnected(client) == 0x94


def test_an_alias_that_was_never_set_is_a_protocol_error() -> None:
    house = House()
    first = house.connect("c1")
    first.publish("a", topic_alias=1)
    second = house.connect("c1")
    second.publish("", topic_alias=1)
    assert disconnected(second) == 0x82


def test_a_publish_without_the_right_is_refused_with_0x87() -> None:
    house = House()
    rights = Rights(publish=Rules(allow=(topics.TopicFilter("mine/#"),)))
    house.principals["d1"] = device("d1", rights=rights)
    client = house.connect("d1", username="d1")
    client.publish("other", qos=1)
    assert int(client.one(PubAckPacket).reason_code) == 0x87
    client.publish("mine/x", qos=1)
    assert int(client.one(PubAckPacket).reason_code) == 0x10
    client.publish("other", qos=0)
    assert client.closed is None
    assert house.core.counters.publishes_refused == 2


def test_reasons_can_be_kept_from_clients_and_are_logged_all_the_same() -> None:
    house = House(reveal_reasons=False)
    house.principals[None] = service(rights=Rights())
    client = house.connect("c1")
    assert client.subscribe("secret") == [0x80]
    client.publish("secret", qos=1)
    assert int(client.one(PubAckPacket).reason_code) == 0x80
    client.publish("secret", qos=2)
    assert int(client.one(PubRecPacket).reason_code) == 0x80
    assert any("'secret' refused: not allowed" in notice for notice in house.notices)
    client.send_bytes(b"\x82\x03\x00\x01\x00")
    goodbye = client.one(DisconnectPacket)
    assert (int(goodbye.reason_code), goodbye.reason_str) == (0x82, None)
    house.principals["u"] = None
    refused = house.open()
    refused.send(ConnectPacket("c1", username="u"))
    answer = refused.one(ConnAckPacket)
    assert (int(answer.reason_code), answer.reason_str) == (0x86, None)


def test_a_reason_that_quotes_a_very_long_topic_is_cut() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", V311, username="d1")
    client.publish("t" * 65_535, qos=1)
    assert client.closed
    modern = house.connect("c1")
    modern.send(SubscribePacket(1, [TopicFilter("$share/g/" + "t" * 65_000, no_local=True)]))
    reason = modern.one(DisconnectPacket).reason_str
    assert reason is not None
    assert len(reason) == 300


def test_mqtt_3_3_5_2_a_3_1_1_client_that_may_not_publish_is_closed_not_acknowledged() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", V311, username="d1")
    client.publish("a", qos=1)
    assert client.take(PubAckPacket) == []
    assert client.closed


@pytest.mark.parametrize("qos", [QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE])
def test_a_refused_publish_reaches_nobody(qos: QoS) -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    subscriber = house.connect("c1")
    subscriber.subscribe("#")
    house.connect("d1", username="d1").publish("a", qos=int(qos), retain=True)
    assert subscriber.payloads() == []
    assert house.core.retained.messages == 0
