"""Connects, disconnects and last-seen times as rows of a registry's database.

They are written beside the registry's changes and are none: nobody's rights depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.registry import models
from broker.registry.events import ClientEvent, EventKind, Presence


def record(
    connection: Connection, events: Sequence[ClientEvent], seen: Mapping[str, float]
) -> None:
    """Writes events in their order, and when each of the names was seen last."""
    if events:
        connection.execute(insert(models.client_events), [_values(event) for event in events])
    latest: dict[str, dict[str, Any]] = {}
    for event in events:
        column = f"{event.kind.value}_at"
        row = latest.setdefault(event.name, _unknown(event.name))
        row[column] = row["seen_at"] = _milliseconds(event.at)
    for name, at in seen.items():
        row = latest.setdefault(name, _unknown(name))
        row["seen_at"] = max(row["seen_at"] or 0, _milliseconds(at))
    if latest:
        # In one order, so that two brokers can't wait for each other.
        connection.execute(_kept_if_older(connection), [latest[name] for name in sorted(latest)])


def read(connection: Connection, *, name: str | None, limit: int) -> list[ClientEvent]:
    """The last events, of all or of one, the newest last."""
    table = models.client_events
    wanted = select(table).order_by(table.c.id.desc()).limit(limit)
    if name is not None:
        wanted = wanted.where(table.c.name == name)
    return [
        ClientEvent(
            kind=EventKind(row.event),
            name=row.name,
            client_id=row.client_id,
            at=row.at / 1_000,
            reason=row.reason,
            peer=row.peer,
            protocol=row.protocol,
        )
        for row in connection.execute(wanted)
    ][::-1]


def presence(connection: Connection, name: str) -> Presence:
    """When a device or service did something last."""
    table = models.presence
    row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
    if row is None:
        return Presence(connected_at=None, disconnected_at=None, seen_at=None)
    return Presence(
        connected_at=_seconds(row.connected_at),
        disconnected_at=_seconds(row.disconnected_at),
        seen_at=_seconds(row.seen_at),
    )


def forget(connection: Connection, before: float) -> int:
    """Removes events that are older; returns how many."""
    table = models.client_events
    return connection.execute(delete(table).where(table.c.at < _milliseconds(before))).rowcount


def _values(event: ClientEvent) -> dict[str, Any]:
    return {
        "event": event.kind.value,
        "name": event.name,
        # A client identifier or reason may hold what a database's text can't.
        "client_id": _storable(event.client_id),
        "at": _milliseconds(event.at),
        "reason": _storable(event.reason),
        "peer": event.peer,
        "protocol": event.protocol,
    }


def _unknown(name: str) -> dict[str, Any]:
    return {"name": name, "connected_at": None, "disconnected_at": None, "seen_at": None}


def _kept_if_older(connection: Connection) -> Any:
    """Adds a row, or takes from it what is later than what is there."""
    is_sqlite = connection.dialect.name == "sqlite"
    statement = (sqlite.insert if is_sqlite else postgresql.insert)(models.presence)
    table, new = models.presence.c, statement.excluded
    later = func.max if is_sqlite else func.greatest

    def latest(name: str) -> Any:
        # Of two bounds of which one may be NULL.
        return later(func.coalesce(table[name], new[name]), func.coalesce(new[name], table[name]))

    columns = ("connected_at", "disconnected_at", "seen_at")
    return statement.on_conflict_do_update(
        index_elements=[table.name], set_={name: latest(name) for name in columns}
    )


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1_000
