"""From the store's tables to what the core takes up."""

from __future__ import annotations

import sqlite3
from operator import itemgetter

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


def read(database: sqlite3.Connection, log: Log, *, core_to_wall: float) -> Stored:
    """Everything that was committed; ``core_to_wall``: seconds, see ``SqliteStore``.

    A table without an index that covers it is read in the order of its key, ``row``.
    """

    def to_core(seconds: float | None) -> float | None:
        return None if seconds is None else seconds - core_to_wall

    def rows(table: int) -> list[Row]:
        older = database.execute(schema.ALL_ROWS[table])
        # What left the log for its table may be newer than what is still in it.
        return sorted([*older, *log.live[table].values()], key=itemgetter(0))

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
        messages=[row if row[4] is None else (*row[:4], to_core(row[4])) for row in rows(MESSAGES)],
        deliveries=rows(DELIVERIES),
        waiting=rows(WAITING),
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
        highest_rows=(log.highest[MESSAGES], log.highest[DELIVERIES], log.highest[WAITING]),
    )
