"""An error that nobody foresaw ends the connection that met it, and is nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mqtt5 import ConnectPacket, DisconnectPacket, PingReqPacket, Will

from broker.core.message import Message
from mqtt.plain import FullPublish
from tests.broker.core.harness import V311, House, login, service


def _fail(*_: Any) -> None:
    raise RuntimeError("nobody foresaw it")


@pytest.fixture
def house() -> House:
    house = House(queued_bytes=2_000)
    house.may_fail = True
    return house


def break_pings(house: House, *others: type) -> None:
    handlers: Any = house.core._receiving._handlers
    for kind in (PingReqPacket, *others):
        handlers[kind] = _fail


def test_the_connection_ends_with_a_word_and_its_session_stays(house: House) -> None:
    client, other = house.resume("c1"), house.connect("c2")
    client.subscribe("a")
    break_pings(house)
    client.send(PingReqPacket())
    assert int(client.one(DisconnectPacket).reason_code) == 0x80
    assert client.closed is not None
    assert house.notices[-2].startswith("c1: ended by an error of the broker's own, RuntimeError")
    other.publish("a", b"meanwhile", qos=1)
    assert house.resume("c1").payloads() == [b"meanwhile"]


def test_who_waited_for_room_fails_by_itself_and_not_with_whom_made_the_room(house: House) -> None:
    reader = house.connect("c1", receive_max=1)
    reader.subscribe("a")
    waiting = house.connect("c2", V311)
    for _ in range(3):
        reader.house.connect("c3").publish("a", bytes(1_000), qos=1)
    waiting.publish("a", b"x", qos=1)
    assert waiting.connection.stalled
    break_pings(house, Message, FullPublish)
    reader.drop()
    house.core.tick(house.now)
    house.settle()
    assert waiting.closed is not None
    assert house.connect("c4").closed is None


def test_a_will_that_fails_leaves_no_session_that_never_expires(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.resume("c1", will=Will("w", payload=b"gone"), session_expiry_interval=10)
    monkeypatch.setattr(house.core._wills, "connection_ended", _fail)
    with pytest.raises(RuntimeError):
        client.drop()
    house.wait(20)
    assert len(house.core.sessions) == 0


@pytest.mark.parametrize("where", ["admit", "complete"])
def test_a_login_that_fails_leaves_nothing_half_done(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    begun: Callable[..., Any] = getattr(house.core._handshake, where)

    def late(*given: Any, **more: Any) -> None:
        begun(*given, **more)
        _fail()

    monkeypatch.setattr(house.core._handshake, where, late)
    client = house.open()
    house.answer_logins = False
    client.send(ConnectPacket("c1", clean_start=True))
    with pytest.raises(RuntimeError) as raised:
        house.core.admitting.authenticated(client.connection, login(service()), house.now)
    error = raised.value
    assert isinstance(error, RuntimeError)
    house.core.failed(client.connection, error, house.now)
    house.settle()
    assert client.closed is not None
    assert len(house.core.sessions) == 0
    assert not house.core.connections
