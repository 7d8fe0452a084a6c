"""A store in one SQLite file: a turn's changes in one commit, in WAL mode.

What ``synchronous`` risks: with ``full`` a commit is on the disk when it returns, so that what was
acknowledged survives the loss of power too; with ``normal`` it survives the death of the process,
and the last commits may be lost with the power. On ``kill -9`` the file is whole, as of the last
commit, with either.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from broker.core.facts import (
    Changes,
    Fact,
    ReceivedIdentifier,
    ReleasedIdentifier,
    SessionEnded,
    SessionKept,
    Stored,
    StoredDelivery,
    StoredMessage,
    StoredWaiting,
    Subscribed,
    Unsubscribed,
    WillGone,
    WillKept,
)
from broker.errors import StoreError
from broker.store import schema


class Synchronous(enum.Enum):
    """When a commit counts as done; see the module."""

    FULL = "full"
    NORMAL = "normal"


class SqliteStore:
    """One file, held by one process at a time. Everything is called by one thread.

    Args:
      path: the file; made, readable by its owner alone, where there is none.
      synchronous: see the module.
      core_to_wall: what is added to the core's seconds to get seconds since 1970, UTC.

    Raises:
      StoreError: the file can't be opened, is held by another broker, is damaged, or is of
        another version.
    """

    def __init__(self, path: Path, *, synchronous: Synchronous, core_to_wall: float) -> None:
        self.path = path
        self._core_to_wall = core_to_wall
        with self._told("opened"):
            # Made before SQLite does, which gives its files (-wal too) the rights of this one.
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
            try:
                self._prepare(synchronous)
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    def commit(self, changes: Changes) -> None:
        """Writes a turn's changes, all or none of them; they are durable when it returns.

        Raises:
          StoreError: they are not.
        """
        with self._told("written"):
            self._database.execute("BEGIN")
            try:
                self._write(changes)
                self._database.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def load(self) -> Stored:
        """Everything that was committed.

        Raises:
          StoreError: the file is damaged.
        """
        with self._told("read"):
            return Stored(
                sessions=[
                    SessionKept(
                        client_id=client_id,
                        owner=owner,
                        device=bool(device),
                        expiry_seconds=expiry_seconds,
                        ended_at=self._to_core(ended_at),
                    )
                    for client_id, owner, device, expiry_seconds, ended_at in self._all(
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
                    ) in self._all("SELECT * FROM subscription")
                ],
                messages=[
                    StoredMessage(
                        row=row,
                        packet=packet,
                        topic=topic,
                        publisher=publisher,
                        expires_at=self._to_core(expires_at),
                    )
                    for row, packet, topic, publisher, expires_at in self._all(
                        "SELECT * FROM message"
                    )
                ],
                deliveries=[
                    StoredDelivery(
                        row=row,
                        client_id=client_id,
                        message=message,
                        qos=qos,
                        retain=bool(retain),
                        subscription_ids=tuple(map(int, identifiers.split())),
                        share_filter=share_filter,
                        packet_id=packet_id,
                    )
                    for (
                        row,
                        client_id,
                        message,
                        qos,
                        retain,
                        identifiers,
                        share_filter,
                        packet_id,
                    ) in self._all("SELECT * FROM delivery")
                ],
                waiting=[StoredWaiting(*values) for values in self._all("SELECT * FROM waiting")],
                received=[
                    ReceivedIdentifier(client_id, packet_id, True)
                    for client_id, packet_id in self._all("SELECT * FROM received")
                ],
                released=[
                    ReleasedIdentifier(client_id, packet_id, True)
                    for _, client_id, packet_id in self._all("SELECT * FROM released ORDER BY row")
                ],
                retained=list(self._all("SELECT * FROM retained")),
                wills=[
                    WillKept(client_id, connect, self._to_core(publish_at))
                    for client_id, connect, publish_at in self._all("SELECT * FROM will")
                ],
            )

    def _prepare(self, synchronous: Synchronous) -> None:
        database = self._database
        # Held from the first read on and until the file is closed, or the process is gone.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous.value}")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == schema.VERSION:
            return
        if version or database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(
                f"store {self.path}: version {version} is not known here, {schema.VERSION} is; it"
                " was made by another version of this broker, or by another program"
            )
        database.executescript(
            f"BEGIN; {schema.TABLES} PRAGMA user_version = {schema.VERSION}; COMMIT;"
        )

    def _write(self, changes: Changes) -> None:
        database = self._database
        for fact in changes.facts:
            _WRITERS[type(fact)](self, fact)
        many = database.executemany
        if changes.messages:
            many(
                schema.ADD_MESSAGE,
                [
                    (
                        row,
                        message.packet.write(),
                        message.topic,
                        message.publisher,
                        self._to_wall(message.expires_at),
                    )
                    for row, message in changes.messages.items()
                ],
            )
        if changes.deliveries:
            many(
                schema.ADD_DELIVERY,
                [
                    (
                        row,
                        item.client_id,
                        item.message,
                        item.qos,
                        item.retain,
                        " ".join(map(str, item.subscription_ids)),
                        item.share_filter,
                        item.packet_id,
                    )
                    for row, item in changes.deliveries.items()
                ],
            )
        if changes.packet_ids:
            many(schema.MARK_SENT, [(new, row) for row, new in changes.packet_ids.items()])
        if changes.waiting:
            many(
                schema.ADD_WAITING,
                [(item.row, item.share_filter, item.message) for item in changes.waiting.values()],
            )
        for topic, message_row in changes.retained.items():
            if message_row is None:
                database.execute(schema.REMOVE_RETAINED, (topic,))
            else:
                database.execute(schema.KEEP_RETAINED, (topic, message_row))
        for statement, rows in (
            (schema.REMOVE_DELIVERY, changes.deliveries_gone),
            (schema.REMOVE_WAITING, changes.waiting_gone),
            (schema.REMOVE_MESSAGE, changes.messages_gone),
        ):
            if rows:
                many(statement, [(row,) for row in rows])

    def _all(self, query: str) -> Iterator[Any]:
        # A table without an index that covers it is read in the order of its key, ``row``.
        yield from self._database.execute(query)

    def _to_wall(self, seconds: float | None) -> float | None:
        return None if seconds is None else seconds + self._core_to_wall

    def _to_core(self, seconds: float | None) -> float | None:
        return None if seconds is None else seconds - self._core_to_wall

    def _execute(self, statement: str, *values: object) -> None:
        self._database.execute(statement, values)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"store {self.path} can't be {what}: {_explained(error)}") from error


def _explained(error: sqlite3.Error | OSError) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    advice = {
        sqlite3.SQLITE_BUSY: "another broker has it; each needs a file of its own",
        sqlite3.SQLITE_FULL: "the disk is full; make room and start again",
        sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, or put a copy in its place",
        sqlite3.SQLITE_NOTADB: "it is no SQLite file; move it away, or name another",
        sqlite3.SQLITE_READONLY: "it may not be written by this user",
        sqlite3.SQLITE_CANTOPEN: "its folder is missing, or not this user's to write",
    }.get(code)
    words = str(error)
    return words if advice is None else f"{advice} ({words})"


def _write_received(store: SqliteStore, fact: ReceivedIdentifier) -> None:
    statement = schema.ADD_RECEIVED if fact.waits else schema.REMOVE_RECEIVED
    store._execute(statement, fact.client_id, fact.packet_id)


def _write_released(store: SqliteStore, fact: ReleasedIdentifier) -> None:
    statement = schema.ADD_RELEASED if fact.waits else schema.REMOVE_RELEASED
    store._execute(statement, fact.client_id, fact.packet_id)


def _write_session_ended(store: SqliteStore, fact: SessionEnded) -> None:
    for statement in schema.END_SESSION:
        store._execute(statement, fact.client_id)


def _write_session(store: SqliteStore, fact: SessionKept) -> None:
    ended_at = store._to_wall(fact.ended_at)
    values = (fact.client_id, fact.owner, fact.device, fact.expiry_seconds, ended_at)
    store._execute(schema.KEEP_SESSION, *values)


def _write_subscribed(store: SqliteStore, fact: Subscribed) -> None:
    store._execute(
        schema.SUBSCRIBE,
        fact.client_id,
        fact.topic_filter,
        fact.qos,
        fact.no_local,
        fact.retain_as_published,
        fact.identifier,
    )


def _write_unsubscribed(store: SqliteStore, fact: Unsubscribed) -> None:
    store._execute(schema.UNSUBSCRIBE, fact.client_id, fact.topic_filter)


def _write_will(store: SqliteStore, fact: WillKept) -> None:
    store._execute(schema.KEEP_WILL, fact.client_id, fact.connect, store._to_wall(fact.publish_at))


def _write_will_gone(store: SqliteStore, fact: WillGone) -> None:
    store._execute(schema.REMOVE_WILL, fact.client_id)


_WRITERS: dict[type[Fact], Callable[[SqliteStore, Any], None]] = {
    ReceivedIdentifier: _write_received,
    ReleasedIdentifier: _write_released,
    SessionEnded: _write_session_ended,
    SessionKept: _write_session,
    Subscribed: _write_subscribed,
    Unsubscribed: _write_unsubscribed,
    WillGone: _write_will_gone,
    WillKept: _write_will,
}
