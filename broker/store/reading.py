"""From the store's tables to what the core takes up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

from broker.core.facts import (
    ReceivedIdentifier,
    ReleasedIdentifier,
    SessionKept,
    Stored,
    Subscribed,
    WillKept,
)
from broker.store import schema
from broker.store.log import DELIVERIES, MESSAGES, WAITING, Log
from broker.store.rows import Row

_MESSAGES = "SELECT row, packet, topic, publisher, expires_at - ? FROM message"


def read(database: sqlite3.Connection, log: Log, *, core_to_wall: float) -> Stored:
    """Everything that was committed; ``core_to_wall``: seconds, see ``SqliteStore``.

    A table without an index that covers it is read in the order of its key, ``row``; those of
    messages when their rows are taken.
    """

    def to_core(seconds: float | None) -> float | None:
        return None if seconds is None else seconds - core_to_wall

    def rows(table: int) -> Iterator[Any]:
        return _rows(database.execute(schema.ALL_ROWS[table]), log.live[table].values())

    return Stored(
        sessions=[
            SessionKept(
                client_id=client_id,
                owner=owner,
                device=bool(device),
                expiry_seconds=expiry_seconds,
                ended_at=to_core(ended_at),
            )
            for client_id, owner, device, expiry_seconds, ended_at in database.execute(
                "SELECT * FROM session"
            )
        ],
        subscriptions=[
            Subscribed(
                client_id=client_id,
                topic_filter=topic_filter,
                qos=qos,
                no_local=bool(no_local),
                retain_as_published=bool(retain_as_published),
                identifier=identifier,
            )
            for (
                client_id,
                topic_filter,
                qos,
                no_local,
                retain_as_published,
                identifier,
            ) in database.execute("SELECT * FROM subscription")
        ],
        messages=_rows(
            database.execute(_MESSAGES, (core_to_wall,)),
            [(*row[:4], to_core(row[4])) for row in log.live[MESSAGES].values()],
        ),
        deliveries=_rows(
            database.execute(schema.ALL_ROWS[DELIVERIES]), log.live[DELIVERIES].values()
        ),
        waiting=_rows(database.execute(schema.ALL_ROWS[WAITING]), log.live[WAITING].values()),
        received=[
            ReceivedIdentifier(client_id, packet_id, True)
            for client_id, packet_id in database.execute("SELECT * FROM received")
        ],
        released=[
            ReleasedIdentifier(client_id, packet_id, True)
            for _, client_id, packet_id in database.execute("SELECT * FROM released ORDER BY row")
        ],
        retained=list(database.execute("SELECT * FROM retained")),
        wills=[
            WillKept(client_id, connect, to_core(publish_at))
            for client_id, connect, publish_at in database.execute("SELECT * FROM will")
        ],
        highest_rows=(
            _highest(database, log, MESSAGES),
            _highest(database, log, DELIVERIES),
            _highest(database, log, WAITING),
        ),
    )


def _rows(older: Iterable[Row], newer: Iterable[Row]) -> Iterator[Any]:
    """A table's rows and those of the log, ascending.

    What left the log for its table may be newer than what is still in it.
    """
    left = sorted(newer, key=itemgetter(0), reverse=True)
    remaining = iter(older)
    if left:
        for row in remaining:
            while left and left[-1][0] < row[0]:
                yield left.pop()
            yield row
            if not left:
                break
    yield from remaining
    yield from reversed(left)


def _highest(database: sqlite3.Connection, log: Log, table: int) -> int:
    highest: int = database.execute(schema.HIGHEST_ROWS[table]).fetchone()[0]
    return max(highest, log.highest[table])
