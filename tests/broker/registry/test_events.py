"""Connects, disconnects and last-seen times as rows: SQLite and PostgreSQL alike."""

from __future__ import annotations

from broker.registry.entries import Entry
from broker.registry.events import ClientEvent, EventKind, Presence
from broker.registry.sql import SqlRegistry

CONNECTED, DISCONNECTED = EventKind.CONNECTED, EventKind.DISCONNECTED


def event(kind: EventKind, at: float, name: str = "d1", **values: str) -> ClientEvent:
    known = {"client_id": name, "reason": "", "peer": "127.0.0.1:7", "protocol": "5.0"} | values
    return ClientEvent(kind=kind, name=name, at=at, **known)


def test_events_are_read_as_they_were_written(registry: SqlRegistry) -> None:
    events = [
        event(CONNECTED, 1.5),
        event(CONNECTED, 1.25, "d2", client_id="ä\n", protocol="3.1.1"),
        event(DISCONNECTED, 2.0, reason="closed by the client"),
    ]
    registry.record(events[:1], {})
    registry.record(events[1:], {})
    assert registry.events() == events
    assert registry.events(name="d1") == [events[0], events[2]]
    assert registry.events(limit=1) == events[2:]


def test_what_a_database_cannot_hold_is_replaced(registry: SqlRegistry) -> None:
    registry.record([event(CONNECTED, 1.0, reason="a\0b")], {})
    assert registry.events()[0].reason == "a\N{REPLACEMENT CHARACTER}b"


def test_presence_is_the_latest_of_everything(registry: SqlRegistry) -> None:
    assert registry.presence("d1") == Presence(
        connected_at=None, disconnected_at=None, seen_at=None
    )
    registry.record([event(CONNECTED, 5.0)], {})
    registry.record([event(DISCONNECTED, 7.0)], {"d1": 6.0, "d2": 3.0})
    latest = Presence(connected_at=5.0, disconnected_at=7.0, seen_at=7.0)
    assert registry.presence("d1") == latest
    # Of another broker, later.
    registry.record([event(CONNECTED, 4.0)], {"d1": 6.5})
    assert registry.presence("d1") == latest
    registry.record([], {"d1": 8.0})
    assert registry.presence("d1").seen_at == 8.0
    assert registry.presence("d2").seen_at == 3.0


def test_old_events_are_forgotten_and_presence_is_not(registry: SqlRegistry) -> None:
    registry.record([event(CONNECTED, 1.0), event(DISCONNECTED, 2.0)], {})
    assert registry.forget_events(2.0) == 1
    assert [each.at for each in registry.events()] == [2.0]
    assert registry.presence("d1").connected_at == 1.0


def test_an_event_is_no_change_of_the_registry(registry: SqlRegistry) -> None:
    version = registry.changes(0).version
    registry.record([event(CONNECTED, 1.0)], {"d2": 1.0})
    assert registry.changes(0).version == version


def test_who_is_removed_leaves_its_events_and_no_presence(registry: SqlRegistry) -> None:
    registry.edit("d1", lambda _: Entry(name="d1"))
    registry.record([event(CONNECTED, 1.0)], {})
    registry.edit("d1", lambda _: None)
    assert len(registry.events()) == 1
    assert registry.presence("d1").seen_at is None
