"""Sections 3.1 and 3.2: CONNECT and what answers it, and sessions."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from broker.auth.principal import Rights, Rules
from mqtt import topics
from mqtt.codec import ProtocolVersion
from tests.broker.conformance.raw import Recorded, answer_to, both, connect, text
from tests.broker.core.harness import ALL, V5, V311, House, device, login, service
from tests.harness.conformance import conforms


def code(version: ProtocolVersion, v311: int, v5: int) -> int:
    """The reason code that stands for a return code; the codec of 3.1.1 translates."""
    return v5 if version is V5 else v311


@conforms(v5="3.1.2-1 3.1.2-2 3.1.3-1 3.1.3-3", v311="3.1.2-1 3.1.3-1 3.1.3-3")
@both
def test_what_does_not_ask_for_mqtt_is_closed(version: ProtocolVersion) -> None:
    for data in (connect(version, name=b"MQXX"), connect(version, level=6), b"\x10\2\0\0"):
        client = Recorded(House(), version)
        client.send_bytes(data)
        assert client.closed is not None
        assert not client.house.core.connections
    assert answer_to(version, connect(version)).one(ConnAckPacket)


@conforms(v5="3.1.2-1 3.1.2-2", v311="3.1.2-1 3.1.2-2")
def test_another_version_is_refused_in_the_form_that_its_client_understands() -> None:
    unacceptable, unsupported = b"\x20\2\0\1", b"\x20\3\0\x84\0"

    def answer(data: bytes) -> bytes:
        client = Recorded(House(), V5)
        client.house.core.feed(client.connection, data, 0.0)
        (turn,) = [client.house.core.take_turn()]
        assert [close.connection for close in turn.closes] == [client.connection]
        return b"".join(write.data for write in turn.writes)

    # 3.1 has its own name and no properties; what comes after 5.0 will have them.
    assert answer(connect(V311, name=b"MQIsdp", level=3)) == unacceptable
    for level in (2, 3, 6, 99):
        assert answer(connect(V311, level=level)) == unacceptable
    for level in (6, 99):
        assert answer(connect(V5, level=level)) == unsupported
    assert answer(connect(V5, name=b"MQXX")) == unsupported
    # What is no MQTT is told nothing in a form that its client may not know.
    assert answer(connect(V311, name=b"MQXX")) == b""
    assert answer(connect(V5, name=b"MQTTX")) == b""


@conforms(
    v5="3.1.2-3 3.1.2-11 3.1.2-12 3.1.2-13", v311="3.1.2-3 3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15"
)
@both
@pytest.mark.parametrize(
    "flags", [0x03, 0x0A, 0x22, 0x1E], ids=["reserved", "will QoS", "will retain", "will QoS 3"]
)
def test_flags_that_contradict_each_other_are_malformed(
    version: ProtocolVersion, flags: int
) -> None:
    will = (b"\0" if version is V5 else b"") + text(b"w") + text(b"")
    client = answer_to(version, connect(version, flags, text(b"c1") + (will if flags & 4 else b"")))
    assert client.closed is not None
    assert len(client.house.core.sessions) == 0


@conforms(
    v5="3.1.2-9 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19",
    v311="3.1.2-9 3.1.2-11 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21",
)
@both
@pytest.mark.parametrize("flags", [0x02, 0x06, 0x82, 0xC2])
def test_the_payload_has_what_the_flags_say_and_nothing_else(
    version: ProtocolVersion, flags: int
) -> None:
    fields = [text(b"c1")]
    if flags & 0x04:
        fields += [(b"\0" if version is V5 else b"") + text(b"w"), text(b"")]
    fields += [text(b"u")] * bool(flags & 0x80) + [text(b"p")] * bool(flags & 0x40)

    def answers(payload: bytes) -> bool:
        house = House()
        house.principals["u"] = service()
        client = house.open(version)
        client.send_bytes(connect(version, flags, payload))
        accepted = [p for p in client.inbox if isinstance(p, ConnAckPacket)]
        return bool(accepted) and int(accepted[0].reason_code) == 0

    assert answers(b"".join(fields))
    assert not answers(b"".join(fields[:-1]))
    assert not answers(b"".join([*fields, text(b"more")]))


@conforms(v311="3.1.2-22")
def test_a_password_needs_a_user_name_in_3_1_1() -> None:
    assert answer_to(V311, connect(V311, 0x42, text(b"c1") + text(b"p"))).closed is not None


@conforms(
    v5="3.1.0-1 3.1.4-1 3.14.0-1",
    v311="3.1.0-1 3.1.4-1",
)
@both
@pytest.mark.parametrize("data", [b"\xc0\x00", b"\xe0\x00", b"\x30\x04\x00\x01ax"])
def test_anything_before_connect_ends_the_connection_without_a_word(
    version: ProtocolVersion, data: bytes
) -> None:
    client = answer_to(version, data)
    assert client.closed is not None
    assert client.inbox == []


@conforms(v5="3.1.0-2 3.2.0-2", v311="3.1.0-2")
@both
def test_a_second_connect_ends_the_connection(version: ProtocolVersion) -> None:
    client = House().connect("c1", version)
    client.inbox.clear()
    client.send(ConnectPacket("c1"))
    assert client.closed is not None
    assert client.take(ConnAckPacket) == []


@conforms(
    v5="3.1.3-5 3.1.4-5 3.2.0-1 3.2.2-1 3.2.2-8",
    v311="3.1.3-5 3.1.4-4 3.2.0-1",
)
@both
@pytest.mark.parametrize("client_id", ["c", "c0123456789ABCDEFGHIJKL", "cabcdefghijklmnopqrstuv"])
def test_connack_comes_first_and_says_success(version: ProtocolVersion, client_id: str) -> None:
    house = House()
    client = Recorded(house, version)
    client.send(ConnectPacket(client_id, clean_start=True))
    first = client.inbox[0]
    assert isinstance(first, ConnAckPacket)
    assert int(first.reason_code) == 0
    acknowledge_flags = client.raw[2]
    assert acknowledge_flags == 0


@conforms(
    v5="3.1.2-4 3.1.2-5 3.1.2-6 3.1.2-23 3.1.3-2 3.2.2-2 3.2.2-3",
    v311="3.1.2-4 3.1.2-5 3.1.2-6 3.1.3-2 3.2.2-1 3.2.2-2 3.2.2-3 4.1.0-1",
)
@both
def test_a_session_is_resumed_or_discarded_as_connect_says(version: ProtocolVersion) -> None:
    house = House()
    first = house.resume("c1", version)
    assert not first.one(ConnAckPacket).session_present
    first.subscribe("a", qos=2)
    first.drop()
    sender = house.connect("c2")
    for qos in (0, 1, 2):
        sender.publish("a", b"%d" % qos, qos=qos)
    # Another client identifier is another session.
    assert not house.resume("c3", version).one(ConnAckPacket).session_present
    resumed = house.resume("c1", version)
    assert resumed.one(ConnAckPacket).session_present
    assert resumed.payloads() == [b"1", b"2"]
    resumed.drop()
    clean = house.connect("c1", version)
    assert not clean.one(ConnAckPacket).session_present
    sender.publish("a", qos=1)
    assert clean.payloads() == []


@conforms(v5="4.1.0-1 4.1.0-2 3.1.2-23", v311="4.1.0-1 4.1.0-2")
def test_session_state_lasts_as_long_as_its_connection_and_then_its_interval() -> None:
    house = House()
    here = house.resume("c1", session_expiry_interval=10, keep_alive=0)
    here.subscribe("a")
    house.wait(1_000)
    house.connect("c2").publish("a", qos=1)
    assert here.payloads() == [b"x"]
    here.drop()
    house.wait(9)
    again = house.resume("c1", session_expiry_interval=10)
    assert again.one(ConnAckPacket).session_present
    again.drop()
    house.wait(11)
    assert not house.resume("c1").one(ConnAckPacket).session_present


@conforms(v311="3.1.2-7")
@both
def test_retained_messages_outlive_the_session_that_published_them(
    version: ProtocolVersion,
) -> None:
    house = House()
    publisher = house.connect("c1", version)
    publisher.publish("a", retain=True)
    publisher.send(DisconnectPacket())
    house.connect("c1", version).send(DisconnectPacket())
    reader = house.connect("c2", version)
    reader.subscribe("a")
    assert reader.payloads() == [b"x"]


@conforms(v5="3.1.3-6 3.1.3-7 3.2.2-16", v311="3.1.3-6")
@both
def test_clients_without_an_identifier_get_one_of_their_own(version: ProtocolVersion) -> None:
    house = House()
    clients = [house.connect("", version) for _ in range(3)]
    assert len(house.core.sessions) == 3
    named = [client.one(ConnAckPacket).assigned_client_id for client in clients]
    if version is V5:
        assert all(house.core.sessions.get(str(name)) for name in named)
    # They work as if they had given it themselves.
    for client in clients:
        client.subscribe("a")
    clients[0].publish("a")
    assert [client.payloads() for client in clients] == [[b"x"]] * 3


@conforms(v5="3.1.3-8", v311="3.1.3-8")
@both
def test_an_identifier_may_be_assigned_to_begin_anew_alone(version: ProtocolVersion) -> None:
    """3.1.1 has no other; of 5.0 it can be asked."""
    client = House(assign_lasting_client_ids=False).open(version)
    client.send_bytes(connect(version, 0x00, text(b"")))
    assert int(client.one(ConnAckPacket).reason_code) == 0x85
    assert client.closed is not None
    assert answer_to(version, connect(version, 0x02, text(b""))).closed is None
    lasting = answer_to(version, connect(version, 0x00, text(b"")))
    assert (lasting.closed is None) == (version is V5)


@conforms(
    v5="3.1.3-8 3.1.4-2 3.2.2-6 3.2.2-7 4.13.2-1", v311="3.1.3-7 3.1.3-8 3.1.3-9 3.2.2-4 3.2.2-5"
)
@both
def test_a_refused_client_identifier_is_told_and_closed(version: ProtocolVersion) -> None:
    house = House()
    house.principals[None] = device("d1")
    refused = [ConnectPacket("d2", clean_start=True)]
    if version is V311:
        refused.append(ConnectPacket("", clean_start=False))
    for packet in refused:
        client = house.open(version)
        client.send(packet)
        answer = client.one(ConnAckPacket)
        assert int(answer.reason_code) == 0x85
        assert not answer.session_present
        assert client.closed is not None


@conforms(v5="3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 3.2.2-8 4.13.2-1", v311="3.1.4-5 3.2.2-4 3.2.2-5")
@both
def test_nothing_behind_a_refused_connect_is_looked_at(version: ProtocolVersion) -> None:
    house = House()
    house.principals["u"] = None
    watcher = house.connect("c-watcher")
    watcher.subscribe("#")
    before = house.resume("c1", version)
    before.drop()
    client = house.open(version)
    house.answer_logins = False
    client.send(ConnectPacket("c1", username="u", password=b"wrong", clean_start=False))
    client.send(PublishPacket("a", b"x"))
    house.core.admitting.authenticated(client.connection, None, house.now)
    house.settle()
    answer = client.one(ConnAckPacket)
    assert int(answer.reason_code) == 0x86
    assert not answer.session_present
    assert client.closed is not None
    assert watcher.payloads() == []


@conforms(v5="3.1.2-28")
def test_response_information_is_for_those_who_ask() -> None:
    house = House(response_information="answers/%client")
    asks = house.connect("c1", request_response_info=True).one(ConnAckPacket)
    assert asks.response_info == "answers/c1"
    assert house.connect("c2").one(ConnAckPacket).response_info is None


@conforms(v5="3.1.2-29")
def test_a_client_that_declines_problem_information_gets_it_in_connack_and_disconnect_alone() -> (
    None
):
    house = House()
    nothing = Rules(allow=(topics.TopicFilter("allowed"),))
    house.principals[None] = service(rights=Rights(publish=nothing, subscribe=nothing, will=ALL))
    client = house.connect("c1", request_problem_info=False)
    client.inbox.clear()
    client.publish("a", qos=1)
    client.publish("a", qos=2)
    client.send(SubscribePacket(1, [TopicFilter("a")]))
    answers: list[Any] = list(client.inbox)
    assert len(answers) == 3
    for answer in answers:
        assert answer.reason_str is None
        assert answer.user_properties == []


@conforms(v5="3.4.2-2 3.5.2-2 3.9.2-1 3.1.2-24")
def test_a_refusal_says_why_where_the_client_can_take_it() -> None:
    house = House(subscriptions_per_session=1)
    allowed = Rules(allow=(topics.TopicFilter("allowed/#"),))
    house.principals[None] = service(rights=Rights(publish=allowed, subscribe=allowed))
    for largest in (30, 1_000):
        client = house.connect("c1", max_packet_size=largest)
        client.inbox.clear()
        client.publish("a/rather/long/topic", qos=1)
        client.publish("a/rather/long/topic", qos=2)
        filters = ["allowed/1", "a/rather/long/topic", "allowed/2"]
        client.send(SubscribePacket(1, [TopicFilter(pattern) for pattern in filters]))
        answers: list[Any] = list(client.inbox)
        assert all(len(answer.write()) <= largest for answer in answers)
        reasons = [answer.reason_str for answer in answers]
        assert reasons == (
            [
                "not allowed",
                "not allowed",
                "'a/rather/long/topic': not allowed; 'allowed/2': more than 1 subscriptions",
            ]
            if largest == 1_000
            else ["not allowed", "not allowed", None]
        )
        codes = [int(code) for code in answers[2].reason_codes]
        assert codes == [2, 0x87, 0x97]
    tiny = house.connect("c1", max_packet_size=18)
    tiny.inbox.clear()
    tiny.publish("a", qos=1)
    tiny.publish("a", qos=2)
    tiny_answers: list[Any] = list(tiny.inbox)
    assert [answer.reason_str for answer in tiny_answers] == [None, None]


@conforms(v5="3.1.2-24")
def test_what_must_be_answered_and_is_too_large_for_the_client_ends_the_connection() -> None:
    house = House()
    size = len(house.connect("c0").one(ConnAckPacket).write())
    accepted = house.connect("c1", max_packet_size=size)
    accepted.send(SubscribePacket(1, [TopicFilter(f"a/{number}") for number in range(size)]))
    assert int(accepted.one(DisconnectPacket).reason_code) == 0x95
    for smaller in (size - 1, 5, 4, 1):
        refused = Recorded(house, V5)
        refused.send(ConnectPacket("c2", max_packet_size=smaller))
        assert len(refused.raw) <= smaller
        assert refused.closed is not None
        if refused.raw:
            assert int(refused.one(ConnAckPacket).reason_code) == 0x95
    assert house.core.sessions.get("c2") is None


@conforms(v5="3.2.2-19 3.14.2-3 3.1.2-24")
def test_a_reason_that_makes_a_packet_too_large_is_left_out() -> None:
    house = House()
    house.principals["u"] = None
    for largest in (5, 20, 200):
        client = house.open(V5)
        client.send(ConnectPacket("c1", username="u", password=b"p", max_packet_size=largest))
        refusal = client.one(ConnAckPacket)
        assert len(refusal.write()) <= largest
        assert (refusal.reason_str is not None) == (largest == 200)
    for largest in (40, 200):
        first = house.connect("c1", max_packet_size=largest)
        house.connect("c1")
        goodbye = first.one(DisconnectPacket)
        assert len(goodbye.write()) <= largest
        assert (goodbye.reason_str is not None) == (largest == 200)


@conforms(v5="3.2.0-1 3.1.4-6", v311="3.2.0-1")
@both
def test_what_is_sent_behind_connect_is_done_after_connack(version: ProtocolVersion) -> None:
    house = House()
    house.answer_logins = False
    client = house.open(version)
    client.send(ConnectPacket("c1", clean_start=True))
    client.send(SubscribePacket(1, [TopicFilter("a", retain_as_published=False)]))
    client.send(PublishPacket("a", b"x", qos=QoS.AT_LEAST_ONCE, packet_id=9))
    assert client.inbox == []
    house.core.admitting.authenticated(client.connection, login(service()), house.now)
    house.settle()
    kinds = [type(packet) for packet in client.inbox]
    assert kinds[0] is ConnAckPacket
    assert set(kinds[1:]) == {SubAckPacket, PublishPacket, PubAckPacket}
