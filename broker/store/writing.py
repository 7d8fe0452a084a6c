"""From a turn's changes to rows of the store's tables, inside a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from broker.core.facts import (
    Changes,
    Fact,
    ReceivedIdentifier,
    ReleasedIdentifier,
    SessionEnded,
    SessionKept,
    Subscribed,
    Unsubscribed,
    WillGone,
    WillKept,
)
from broker.store import schema
from broker.store.log import Log, RowChanges

Statement = tuple[str, tuple[object, ...]]


def write(database: sqlite3.Connection, log: Log, changes: Changes, *, core_to_wall: float) -> None:
    """Writes all of a turn's changes; ``core_to_wall``: seconds, see ``SqliteStore``."""

    for fact in changes.facts:
        for statement, values in _statements(fact, core_to_wall):
            database.execute(statement, values)
    for topic, message_row in changes.retained.items():
        if message_row is None:
            database.execute(schema.REMOVE_RETAINED, (topic,))
        else:
            database.execute(schema.KEEP_RETAINED, (topic, message_row))
    messages = [
        row if row[4] is None else (*row[:4], row[4] + core_to_wall) for row in changes.messages
    ]
    log.append(
        RowChanges(
            added=(messages, changes.deliveries, changes.waiting),
            gone=(changes.messages_gone, changes.deliveries_gone, changes.waiting_gone),
            packet_ids=changes.packet_ids,
        )
    )


def _statements(fact: Fact, core_to_wall: float) -> Iterator[Statement]:
    match fact:
        case SessionKept():
            ended_at = _to_wall(fact.ended_at, core_to_wall)
            yield (
                schema.KEEP_SESSION,
                (fact.client_id, fact.owner, fact.device, fact.expiry_seconds, ended_at),
            )
        case SessionEnded():
            for statement in schema.END_SESSION:
                yield statement, (fact.client_id,)
        case Subscribed():
            yield (
                schema.SUBSCRIBE,
                (
                    fact.client_id,
                    fact.topic_filter,
                    fact.qos,
                    fact.no_local,
                    fact.retain_as_published,
                    fact.identifier,
                ),
            )
        case Unsubscribed():
            yield schema.UNSUBSCRIBE, (fact.client_id, fact.topic_filter)
        case ReceivedIdentifier():
            statement = schema.ADD_RECEIVED if fact.waits else schema.REMOVE_RECEIVED
            yield statement, (fact.client_id, fact.packet_id)
        case ReleasedIdentifier():
            statement = schema.ADD_RELEASED if fact.waits else schema.REMOVE_RELEASED
            yield statement, (fact.client_id, fact.packet_id)
        case WillKept():
            publish_at = _to_wall(fact.publish_at, core_to_wall)
            yield schema.KEEP_WILL, (fact.client_id, fact.connect, publish_at)
        case WillGone():
            yield schema.REMOVE_WILL, (fact.client_id,)


def _to_wall(seconds: float | None, core_to_wall: float) -> float | None:
    return None if seconds is None else seconds + core_to_wall
