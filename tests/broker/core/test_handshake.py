"""CONNECT is checked before anyone is asked who they are, and before any session is touched."""

from __future__ import annotations

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
    SubscribePacket,
    TopicFilter,
    Will,
)

from broker.auth.principal import Rights, Rules
from broker.core.limits import Limits
from mqtt import topics
from mqtt.codec import ProtocolVersion
from tests.broker.core.harness import V5, V311, Client, House, device, login, service
from tests.harness.conformance import conforms


def refusal(client: Client) -> int:
    """The reason code of the CONNACK that says no, after which the connection is closed."""
    answer = client.one(ConnAckPacket)
    assert not answer.session_present
    assert client.closed is not None
    return int(answer.reason_code)


def test_mqtt_3_1_0_1_the_first_packet_must_be_connect() -> None:
    client = House().open()
    client.send(PingReqPacket())
    assert client.closed == "the first packet is not CONNECT"
    assert client.inbox == []


def test_mqtt_3_1_0_2_a_second_connect_ends_the_connection_with_0x82() -> None:
    client = House().connect()
    client.send(ConnectPacket("c"))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82
    assert client.closed


@conforms(v5="3.1.2-2", v311="3.1.2-2")
def test_mqtt_3_1_2_2_another_protocol_version_is_refused_with_return_code_1() -> None:
    client = House().open(V311)
    client.send_bytes(b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x00\x00\x02c1")
    assert refusal(client) == 0x84


def test_a_malformed_connect_is_answered_with_0x81() -> None:
    client = House().open()
    client.send_bytes(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02\xff\xff")
    assert refusal(client) == 0x81


def test_a_client_that_sends_no_connect_is_closed_in_time() -> None:
    house = House(connect_timeout_seconds=3)
    client = house.open()
    house.wait(2.9)
    assert client.closed is None
    house.wait(0.2)
    assert client.closed == "no CONNECT within 3 s"
    assert house.core.counters.connect_timeouts == 1
    assert [line for line in house.notices if line.endswith(": closed, no CONNECT within 3 s")]


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_wrong_password_is_refused_and_touches_no_session(protocol: object) -> None:
    house = House()
    victim = house.resume("c1")
    intruder = house.open(V5 if protocol is V5 else V311)
    intruder.send(ConnectPacket("c1", username="nobody", clean_start=True))
    assert refusal(intruder) == 0x86
    assert victim.closed is None
    assert house.core.sessions.get("c1") is not None


def test_nothing_is_done_for_a_client_until_its_login_is_decided() -> None:
    house = House()
    house.answer_logins = False
    client = house.open()
    client.send(ConnectPacket("c1"))
    client.send(SubscribePacket(1, [TopicFilter("a")]))
    client.send(PingReqPacket())
    assert client.inbox == []
    assert len(house.core.sessions) == 0
    house.core.admitting.authenticated(client.connection, login(service()), house.now)
    house.settle()
    assert [type(packet).__name__ for packet in client.inbox] == [
        "ConnAckPacket",
        "SubAckPacket",
        "PingRespPacket",
    ]


def test_a_login_that_is_decided_after_the_client_left_opens_nothing() -> None:
    house = House()
    house.answer_logins = False
    client = house.open()
    client.send(ConnectPacket("c1"))
    client.drop()
    house.core.admitting.authenticated(client.connection, login(service()), house.now)
    assert len(house.core.sessions) == 0


def test_a_device_has_its_own_client_identifier_and_no_other() -> None:
    house = House()
    house.principals["d1"] = device("d1")
    stranger = house.open()
    stranger.send(ConnectPacket("d2", username="d1"))
    assert refusal(stranger) == 0x85
    assert house.connect("d1", username="d1").closed is None


def test_a_refusal_says_why_where_the_client_can_take_it() -> None:
    for largest, reason in ((None, "user name or password is wrong"), (20, None)):
        client = House().open()
        client.send(ConnectPacket("c", username="nobody", max_packet_size=largest))
        assert client.one(ConnAckPacket).reason_str == reason


def test_a_goodbye_says_why_where_the_client_can_take_it() -> None:
    for largest, reason in ((None, "topic alias 9 was never set"), (20, None)):
        client = House().connect(max_packet_size=largest)
        client.publish("", topic_alias=9)
        assert client.one(DisconnectPacket).reason_str == reason


def test_a_service_has_the_client_identifiers_under_its_prefix() -> None:
    house = House()
    house.principals["s"] = service("s", prefix="s-")
    assert house.connect("s-1", username="s").closed is None
    stranger = house.open()
    stranger.send(ConnectPacket("t-1", username="s"))
    assert refusal(stranger) == 0x85


def test_a_session_belongs_to_the_principal_that_opened_it() -> None:
    house = House()
    house.principals |= {"x": service("x", prefix="c"), "y": service("y", prefix="c")}
    owner = house.resume("c1", username="x")
    other = house.open()
    other.send(ConnectPacket("c1", username="y", clean_start=True))
    assert refusal(other) == 0x87
    assert owner.closed is None


def test_mqtt_3_1_3_6_an_empty_client_identifier_is_assigned() -> None:
    house = House()
    first = house.connect("").one(ConnAckPacket).assigned_client_id
    second = house.connect("").one(ConnAckPacket).assigned_client_id
    assert first
    assert second
    assert first != second


def test_a_device_that_names_no_client_identifier_gets_its_own() -> None:
    house = House()
    house.principals["d1"] = device("d1")
    assert house.connect("", username="d1").one(ConnAckPacket).assigned_client_id == "d1"


def test_mqtt_3_1_3_8_3_1_1_needs_a_client_identifier_for_a_lasting_session() -> None:
    client = House().open(V311)
    client.send(ConnectPacket("", clean_start=False))
    assert refusal(client) == 0x85


def test_connack_says_what_this_server_takes() -> None:
    house = House(
        receive_maximum=10,
        topic_alias_maximum=3,
        maximum_packet_bytes=1_000,
        session_expiry_seconds=60,
        server_keep_alive_seconds=30,
        response_information="responses/%client",
    )
    answer = house.connect(
        "c1", keep_alive=0, session_expiry_interval=100, request_response_info=True
    ).one(ConnAckPacket)
    assert answer.receive_max == 10
    assert answer.topic_alias_max == 3
    assert answer.max_packet_size == 1_000
    assert answer.session_expiry_interval == 60
    assert answer.server_keep_alive == 30
    assert answer.response_info == "responses/c1"


@pytest.mark.parametrize(
    ("client_id", "largest"),
    [
        pytest.param("c" * 65_530, None, id="longer than a text may be"),
        pytest.param("c" * 500, 300, id="more than the client takes"),
        pytest.param("c" + "\u20ac" * 20_000, 40_000, id="more bytes than characters"),
    ],
)
def test_response_information_that_has_no_room_is_left_out(
    client_id: str, largest: int | None
) -> None:
    house = House(
        response_information="responses/%client",
        connect_packet_bytes=131_072,
        client_id_bytes=65_535,
    )
    client = house.resume(client_id, request_response_info=True, max_packet_size=largest)
    assert client.one(ConnAckPacket).response_info is None
    client.subscribe("a")
    client.publish("a", b"x")
    assert client.payloads() == [b"x"]


def test_response_information_goes_to_those_who_ask() -> None:
    house = House(response_information="r")
    assert house.connect().one(ConnAckPacket).response_info is None


def test_mqtt_3_1_2_22_a_silent_client_is_disconnected_after_one_and_a_half_keep_alives() -> None:
    house = House()
    client = house.connect(keep_alive=10)
    house.wait(14)
    client.send(PingReqPacket())
    client.one(PingRespPacket)
    house.wait(14.9)
    assert client.closed is None
    house.wait(0.2)
    assert int(client.one(DisconnectPacket).reason_code) == 0x8D
    assert client.closed


def test_keep_alive_0_is_never_disconnected() -> None:
    house = House()
    client = house.connect(keep_alive=0)
    house.wait(100_000)
    assert client.closed is None


def test_the_server_keep_alive_is_kept_instead_of_the_clients() -> None:
    house = House(server_keep_alive_seconds=10)
    client = house.connect(keep_alive=60)
    house.wait(15.1)
    assert int(client.one(DisconnectPacket).reason_code) == 0x8D


def test_a_will_is_checked_against_rights_at_connect() -> None:
    house = House()
    rights = Rights(
        publish=Rules(allow=(topics.TopicFilter("mine/#"), topics.TopicFilter("other"))),
        will=Rules(allow=(topics.TopicFilter("mine/#"),)),
    )
    house.principals["d1"] = device("d1", rights=rights)
    client = house.open()
    client.send(ConnectPacket("d1", username="d1", will=Will("other")))
    assert refusal(client) == 0x87
    assert house.connect("d1", username="d1", will=Will("mine/status")).closed is None


def test_a_will_to_a_topic_with_wildcards_is_refused_with_0x90() -> None:
    packet = ConnectPacket("c", will=Will("a/x")).write().replace(b"a/x", b"a/#")
    client = House().open()
    client.send_bytes(packet)
    assert refusal(client) == 0x90


def test_before_a_login_64_kib_are_taken_and_a_will_counts() -> None:
    house = House()
    house.connect("c1", will=Will("w", payload=bytes(60_000)))
    client = house.open()
    client.send(ConnectPacket("c2", will=Will("w", payload=bytes(65_535))))
    assert client.closed == "packet of 65560 bytes; at most 65536 are taken"
    house = House(connect_packet_bytes=131_072)
    house.connect("c2", will=Will("w", payload=bytes(65_535)))


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize(
    ("client_id", "is_taken"),
    [
        pytest.param("c" * 30, True, id="as long as may be"),
        pytest.param("c" * 31, False, id="longer"),
        pytest.param("c" + "\u20ac" * 10, False, id="more bytes than characters"),
    ],
)
def test_mqtt_3_1_3_5_a_client_identifier_longer_than_the_limit_is_refused(
    client_id: str, is_taken: bool, protocol: ProtocolVersion
) -> None:
    house = House(client_id_bytes=30)
    client = house.open(protocol)
    client.send(ConnectPacket(client_id, clean_start=True))
    if is_taken:
        assert int(client.one(ConnAckPacket).reason_code) == 0
    else:
        assert refusal(client) == 0x85
        assert not any(client_id in notice for notice in house.notices)


def test_a_client_identifier_limit_below_what_each_server_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="client_id_bytes is 22"):
        Limits(client_id_bytes=22)


def test_topics_are_remembered_of_who_is_logged_in_alone() -> None:
    house = House()
    known = house.core._plain
    house.answer_logins = False
    client = house.open()
    publish = PublishPacket("a/1", b"x", content_type="t").write()
    client.send_bytes(ConnectPacket("c1", clean_start=True).write() + publish)
    assert known.topics == {}
    assert len(known.properties) == 1
    house.core.admitting.authenticated(client.connection, login(service()), house.now)
    house.settle()
    client.send_bytes(publish)
    assert set(known.topics) == {b"a/1"}
    assert len(known.properties) == 2


def test_before_a_login_only_small_packets_are_taken() -> None:
    house = House(connect_packet_bytes=100)
    client = house.open()
    client.send(ConnectPacket("c", password=b"x" * 200, username="u"))
    assert client.closed == "packet of 222 bytes; at most 100 are taken"
    later = house.connect("c")
    later.subscribe("a")
    later.publish("a", b"y" * 200)
    assert later.one(PublishPacket).payload == b"y" * 200


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(0x03, id="MQTT-3.1.2-3 reserved flag"),
        pytest.param(0x0A, id="MQTT-3.1.2-11 will QoS without will"),
        pytest.param(0x22, id="MQTT-3.1.2-13 will retain without will"),
    ],
)
def test_connect_flags_that_contradict_each_other_are_malformed(flags: int) -> None:
    client = House().open()
    client.send_bytes(b"\x10\x0e\x00\x04MQTT\x05" + bytes([flags]) + b"\x00\x00\x00\x00\x01c")
    assert refusal(client) == 0x81
