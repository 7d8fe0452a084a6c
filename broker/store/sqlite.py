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
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from broker.core.facts import Changes, Stored
from broker.errors import StoreError
from broker.store import copying, opening, reading, schema, writing
from broker.store.log import KEPT_BYTES, Log

T = TypeVar("T")


class Synchronous(enum.Enum):
    """When a commit counts as done; see the module."""

    FULL = "full"
    NORMAL = "normal"


class SqliteStore:
    """One file, held by one process at a time. All but ``backup`` is called by one thread.

    Args:
      path: the file; made, readable by its owner alone, where there is none.
      synchronous: see the module.
      core_to_wall: what is added to the core's seconds to get seconds since 1970, UTC.
      log_bytes: how much of the newest messages is kept as a log; see ``broker.store.log``.

    Raises:
      StoreError: the file can't be opened, is held by another broker, is damaged, or is of
        another version.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous,
        core_to_wall: float,
        log_bytes: int = KEPT_BYTES,
    ) -> None:
        self.path = path
        self._core_to_wall = core_to_wall
        self._log_bytes = log_bytes
        self._closing = False
        self._backing_up = threading.Lock()
        # Whose turn it is: SQLite takes no step of a backup within a transaction.
        self._turn = threading.Lock()
        with opening.told(path, "opened"):
            # Made before SQLite does, which gives its files (-wal too) the rights of this one.
            path.touch(mode=0o600)
            # A backup is made by a thread of its own.
            self._database = sqlite3.connect(
                path, isolation_level=None, timeout=0, check_same_thread=False
            )
            try:
                self._prepare(synchronous)
                self._log = Log(self._database, kept_bytes=log_bytes)
                self._place = opening.Place(path)
            except BaseException:  # whatever it was, the file is let go of; raised again
                self._database.close()
                raise

    def close(self) -> None:
        """Lets go of the file; a backup that is being made is given up."""
        self._closing = True
        with self._backing_up:
            self._database.close()

    def backup(self, target: Path) -> None:
        """Copies what was committed, meanwhile too, into a new file. May be called by any thread.

        Raises:
          StoreError: the file can't be made, or another backup is being made.
        """
        if not self._backing_up.acquire(blocking=False):
            raise StoreError(f"backup {target}: another is being made; wait for its end")
        try:
            copying.copy(self._database, target, turn=self._turn, goes_on=lambda: not self._closing)
        finally:
            self._backing_up.release()

    def commit(self, changes: Changes) -> None:
        """Writes a turn's changes, all or none of them; they are durable when it returns.

        Raises:
          StoreError: they are not.
        """
        with self._turn, opening.told(self.path, "written"):
            self._database.execute("BEGIN")
            try:
                writing.write(self._database, self._log, changes, core_to_wall=self._core_to_wall)
                self._database.execute("COMMIT")
            except BaseException:  # a half-written turn must never be committed; raised again
                # A full disk has rolled it back already.
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
            self._place.check()

    def load(self) -> Stored:
        """Everything that was committed; rows must be taken before the next commit is made.

        Raises:
          StoreError: the file is damaged; also when rows are taken.
        """
        with opening.told(self.path, "read"):
            self._log = Log(self._database, kept_bytes=self._log_bytes)
            stored = reading.read(self._database, self._log, core_to_wall=self._core_to_wall)
        return replace(
            stored,
            messages=self._told(stored.messages),
            deliveries=self._told(stored.deliveries),
            waiting=self._told(stored.waiting),
        )

    def _told(self, rows: Iterable[T]) -> Iterator[T]:
        with opening.told(self.path, "read"):
            yield from rows

    def _prepare(self, synchronous: Synchronous) -> None:
        database = self._database
        opening.hold(database)
        database.execute(f"PRAGMA synchronous = {synchronous.value}")
        version = schema.version_of(database)
        if version == schema.VERSION:
            return
        if version is None:
            raise StoreError(f"store {self.path}: {schema.FOREIGN}")
        if version > schema.VERSION:
            raise StoreError(f"store {self.path}: {schema.newer(version)}")
        if version:
            # Not by itself: what was upgraded can't be read by the program of before.
            raise StoreError(
                f"store {self.path}: version {version} is older than {schema.VERSION};"
                f" `mqttbeam broker upgrade {self.path}` makes it that, and keeps a copy"
            )
        tables = " ".join(schema.STEPS)
        database.executescript(f"BEGIN; {tables} PRAGMA user_version = {schema.VERSION}; COMMIT;")
