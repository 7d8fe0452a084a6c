"""Who is expelled is neither heard nor sent anything from then on, before it is told so, too."""

from __future__ import annotations

import pytest
from mqtt5 import AuthPacket, AuthReasonCode, DisconnectPacket, PubAckPacket, PublishPacket, Will

from broker.core.connection import REMOVED
from mqtt.codec import ProtocolVersion
from tests.broker.core.harness import V5, V311, Client, House, login, service

BLOCKED = "it is blocked"


@pytest.fixture
def house() -> House:
    return House()


def expel(client: Client, reason: str = BLOCKED) -> None:
    principal = None if reason == REMOVED else client.connection.principal
    client.house.core.admitting.expel(client.connection, reason, principal=principal)
    client.house.settle()


def tell(client: Client) -> None:
    client.house.core.admitting.tell_expelled(client.connection, client.house.now)
    client.house.settle()


@pytest.mark.parametrize("protocol", [V5, V311])
def test_what_it_sends_is_not_handled(house: House, protocol: ProtocolVersion) -> None:
    watcher = house.connect("c-watcher")
    watcher.subscribe("#")
    client = house.connect("c-1", protocol)
    expel(client)
    for qos in (0, 1, 2):
        client.publish("topic", b"too late", qos=qos)
    client.send_bytes(b"\xf0\xff\xff\xff\xff\xff")
    client.send_bytes(b"\xc0\x00")
    client.send(DisconnectPacket())
    assert (client.inbox[1:], client.closed, watcher.payloads()) == ([], None, [])
    tell(client)
    assert client.closed == BLOCKED
    assert [packet.reason_str for packet in client.take(DisconnectPacket)] == (
        [BLOCKED] if protocol is V5 else []
    )


def test_what_is_for_it_waits_as_if_it_were_away(house: House) -> None:
    client, other = house.resume("c-1"), house.connect("c-2")
    client.subscribe("topic", qos=2)
    other.publish("topic", b"before", qos=1)
    before = client.one(PublishPacket)
    expel(client)
    for qos in (0, 1, 2):
        other.publish("topic", f"at {qos}".encode(), qos=qos)
    client.acknowledge(before)
    assert client.payloads() == []
    tell(client)
    again = house.resume("c-1")
    assert again.payloads() == [b"before", b"at 1", b"at 2"]


def test_a_share_group_goes_on_with_its_other_members(house: House) -> None:
    one, other = house.connect("c-1"), house.connect("c-2")
    for member in (one, other):
        member.subscribe("$share/all/topic")
    expel(one)
    publisher = house.connect("c-3")
    for number in range(4):
        publisher.publish("topic", bytes([number]), qos=number % 2)
        for packet in other.take(PublishPacket):
            assert packet.payload == bytes([number])
            if packet.packet_id is not None:
                other.send(PubAckPacket(packet.packet_id))
    assert one.payloads() == []
    tell(one)
    assert other.payloads() == []


@pytest.mark.parametrize(("reason", "published"), [(BLOCKED, [b"gone"]), (REMOVED, [])])
@pytest.mark.parametrize("how", ["told", "lost", "kicked"])
def test_however_its_connection_ends_only_who_still_is_somebody_leaves_a_will(
    house: House, reason: str, published: list[bytes], how: str
) -> None:
    watcher = house.resume("c-watcher")
    watcher.subscribe("will")
    client = house.connect("c-1", will=Will("will", payload=b"gone"))
    expel(client, reason)
    if how == "told":
        tell(client)
    elif how == "lost":
        client.drop()
        tell(client)
    else:
        session = house.core.sessions.get("c-1")
        assert session is not None
        house.core.kick(session, house.now, forget=False)
        house.settle()
    assert watcher.payloads() == published


@pytest.mark.parametrize(("reason", "payloads"), [(BLOCKED, [b"1"]), (REMOVED, [])])
def test_who_comes_before_it_is_told_finds_its_session_unless_that_was_somebody_else_s(
    house: House, reason: str, payloads: list[bytes]
) -> None:
    client, other = house.resume("c-1"), house.connect("c-2")
    client.subscribe("topic")
    expel(client, reason)
    other.publish("topic", b"1", qos=1)
    again = house.resume("c-1")
    assert again.payloads() == payloads
    tell(client)
    again.publish("topic", b"2", qos=1)
    assert again.closed is None
    assert house.core.sessions.get("c-1") is not None


def test_its_silence_is_not_held_against_it(house: House) -> None:
    client = house.connect("c-1", keep_alive=10)
    expel(client)
    house.wait(60)
    assert client.closed is None
    tell(client)
    assert client.one(DisconnectPacket).reason_str == BLOCKED


def test_a_proof_that_was_under_way_lets_it_stay_no_more(house: House) -> None:
    house.principals[None] = service()
    client = house.connect("c-1", authentication_method="TEST", authentication_data=b"1")
    house.answer_logins = False
    client.send(
        AuthPacket(reason_code=AuthReasonCode.RE_AUTHENTICATE, authentication_method="TEST")
    )
    expel(client)
    house.core.admitting.authenticated(client.connection, login(service()), house.now)
    house.settle()
    assert client.take(AuthPacket) == []
    client.publish("topic", qos=1)
    assert client.take(PubAckPacket) == []
    tell(client)
    assert client.closed == BLOCKED
