"""A registry's database: the engine, transactions, and the version that every change raises.

SQLite: WAL, so that brokers read while a change is written; a writer waits for the one before it.
PostgreSQL: the same by the row lock on the version, so that versions are committed in their order
and nobody who has seen one can have missed an earlier one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, insert, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from broker.errors import RegistryError
from broker.file_rights import obstacle_behind
from broker.registry import models

BUSY_SECONDS = 10
"""How long a connection to the server, or the lock of an SQLite file, is waited for."""

KEPT_VERSIONS = 10_000
"""Whoever has missed more of them is told that it may be anyone."""


class Subject(enum.Enum):
    """What a change is about."""

    MEMBER = "member"
    # Beside MEMBER: whoever bears the name later is another one.
    REMOVED = "removed"
    ROLE = "role"
    AUTHORITY = "authority"
    PASSWORD_FORMAT = "password_format"  # noqa: S105  # the word


@dataclass
class Change:
    """A change that is being written. ``subjects``: what it is about, by kind and name."""

    connection: Connection
    subjects: set[tuple[Subject, str]] = field(default_factory=set)

    def about(self, subject: Subject, *names: str) -> None:
        """These are not what they were from now on."""
        self.subjects.update((subject, name) for name in names)


class Database:
    """Gives transactions. What fails in one is a RegistryError without a secret in it."""

    def __init__(self, url: URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database) if self.is_sqlite and url.database else None
        with self.told("opened"):
            if self._file is not None:
                # SQLite gives its other files (-wal, -shm) the rights of this one.
                self._file.touch(mode=0o600)
            self._opened = self._which()
            self.engine = _engine(url)

    def has_been_replaced(self) -> bool:
        """Whether another file is where an SQLite file was; ``reopen`` then goes to it."""
        with self.told("read"):
            return self._which() != self._opened

    def reopen(self) -> None:
        """Leaves every connection, so that the next ones are to the file that is there now."""
        with self.told("read"):
            self._opened = self._which()
        self.engine.dispose()

    def _which(self) -> tuple[int, int] | None:
        """A file's device and inode, by which it is told from another of its name."""
        if self._file is None:
            return None
        status = self._file.stat()
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that changes nothing, and sees one state.

        What another program wrote that makes no sense is a RegistryError, too.
        """
        with self.told("read"), self.engine.connect() as connection, connection.begin():
            try:
                yield connection
            except ValueError as problem:
                raise RegistryError(
                    f"registry {self.name} holds what makes no sense: {problem}"
                ) from problem

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no change goes beside; it is no change itself."""
        with (
            self.told("written"),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """A transaction that changes who may connect or what they may do, and says whom."""
        with self.writing() as connection:
            table = models.version
            raised = update(table).values(version=table.c.version + 1).returning(table.c.version)
            version = connection.execute(raised).scalar_one()
            change = Change(connection)
            yield change
            if not change.subjects:
                # Nothing has changed: a version without a row would mean anyone.
                connection.rollback()
                return
            rows = [
                {"version": version, "subject": subject.value, "name": name}
                for subject, name in change.subjects
            ]
            connection.execute(insert(models.changes), rows)
            old = models.changes.c.version <= version - KEPT_VERSIONS
            connection.execute(delete(models.changes).where(old))

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Names the database in an error of its own."""
        try:
            yield
        except DBAPIError as problem:
            # Not the statement: it may hold a hash.
            words = self._obstacle(problem.orig) or " ".join(str(problem.orig).split())
            raise RegistryError(f"registry {self.name} can't be {what}: {words}") from problem
        except (SQLAlchemyError, OSError) as problem:
            words = self._obstacle(problem) or str(problem)
            raise RegistryError(f"registry {self.name} can't be {what}: {words}") from problem

    def _obstacle(self, error: BaseException | None) -> str | None:
        return None if self._file is None else obstacle_behind(self._file, error)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        hide_parameters=True,
        # One that the server has closed is noticed before it is used.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": BUSY_SECONDS,
            "tcp_user_timeout": BUSY_SECONDS * 1_000,
            "application_name": "mqttbeam",
        },
    )


def _set_up_sqlite(connection: Any, record: object) -> None:
    # Transactions begin where we say, not where Python's module thinks.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        # A hash that is removed is overwritten.
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns into a writer could not be made to wait: SQLite refuses it at once.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
