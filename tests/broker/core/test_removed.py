"""Who was removed leaves nothing behind: no session, no queue, no will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mqtt5 import PublishPacket, QoS, Will

from broker.core.connection import REMOVED
from broker.core.restoring import owners
from tests.broker.core.harness import Client, House, device, service

STAYS = service("stays")


def will(**options: Any) -> Will:
    return Will("will", payload=b"gone", qos=QoS.AT_LEAST_ONCE, **options)


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(store=tmp_path / "store.db")
    house.principals = {None: STAYS, "d1": device("d1"), "d2": device("d2")}
    return house


def lasting(house: House, name: str, **options: Any) -> Client:
    return house.resume(name, username=name, session_expiry_interval=600, **options)


def watched(house: House) -> Client:
    watcher = house.resume("c-watcher", session_expiry_interval=600)
    watcher.subscribe("will")
    return watcher


def payloads_of(house: House, client_id: str) -> list[bytes]:
    """What its session has gathered."""
    return house.resume(client_id, session_expiry_interval=600).payloads()


def test_after_a_start_nothing_is_there_of_who_was_removed_meanwhile(house: House) -> None:
    watched(house)
    for name in ("d1", "d2"):
        lasting(house, name, will=will()).subscribe("news")
    house.connect("c-writer").publish("news", b"for both", qos=1)
    assert owners(house.store.load()) == {"d1", "d2", "stays"}  # type: ignore[union-attr]  # has one
    house.crash(removed={"d1"})
    assert [each.client_id for each in house.core.sessions] == ["c-watcher", "d2"]
    assert "d1: its session ended: it was removed from the registry" in house.notices
    assert payloads_of(house, "c-watcher") == [b"gone"], "of d2 alone"
    house.crash()
    assert sorted(each.client_id for each in house.core.sessions) == ["c-watcher", "d2"]
    assert owners(house.store.load()) == {"d2", "stays"}  # type: ignore[union-attr]  # as above


def test_after_a_start_a_will_without_a_session_is_its_owner_s_too(house: House) -> None:
    watched(house)
    for name in ("d1", "d2"):
        house.connect(name, username=name, will=will())
    house.crash(removed={"d1"})
    assert payloads_of(house, "c-watcher") == [b"gone"]
    house.crash()
    assert payloads_of(house, "c-watcher") == [b"gone"], "again, as it was not acknowledged"


def test_a_delayed_will_of_who_was_removed_is_not_published_after_a_start(house: House) -> None:
    watched(house)
    for name in ("d1", "d2"):
        lasting(house, name, will=will(will_delay_interval=60)).drop()
    house.crash(removed={"d1"})
    house.wait(61)
    assert payloads_of(house, "c-watcher") == [b"gone"]


def test_a_session_that_ends_with_its_owner_publishes_no_delayed_will(house: House) -> None:
    watcher = watched(house)
    for name in ("d1", "d2"):
        lasting(house, name, will=will(will_delay_interval=60)).drop()
    session = house.core.sessions.get("d1")
    assert session is not None
    house.core.admitting.end_session_of_removed(session, house.now)
    house.settle()
    assert house.core.sessions.get("d1") is None
    house.wait(61)
    assert watcher.one(PublishPacket).payload == b"gone"


def test_who_is_expelled_because_it_was_removed_leaves_no_will(house: House) -> None:
    watcher = watched(house)
    one, other = (lasting(house, name, will=will()) for name in ("d1", "d2"))
    for client, reason, who in ((one, REMOVED, None), (other, "it is blocked", device("d2"))):
        house.core.admitting.expel(client.connection, reason, principal=who)
        house.core.admitting.tell_expelled(client.connection, house.now)
    house.settle()
    assert watcher.payloads() == [b"gone"], "of who is blocked alone"
