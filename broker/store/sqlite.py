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
from collections.abc import Iterator
from pathlib import Path

from broker.core.facts import Changes, Stored
from broker.errors import StoreError
from broker.store import reading, schema, writing


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
        with told(path, "opened"):
            # Made before SQLite does, which gives its files (-wal too) the rights of this one.
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
            try:
                self._prepare(synchronous)
            except BaseException:  # whatever it was, the file is let go of; raised again
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
        with told(self.path, "written"):
            self._database.execute("BEGIN")
            try:
                writing.write(self._database, changes, core_to_wall=self._core_to_wall)
                self._database.execute("COMMIT")
            except BaseException:  # a half-written turn must never be committed; raised again
                # A full disk has rolled it back already.
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def load(self) -> Stored:
        """Everything that was committed.

        Raises:
          StoreError: the file is damaged.
        """
        with told(self.path, "read"):
            return reading.read(self._database, core_to_wall=self._core_to_wall)

    def _prepare(self, synchronous: Synchronous) -> None:
        database = self._database
        # Held from the first read on and until the file is closed, or the process is gone.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
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


@contextlib.contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Raises what SQLite and the system complain of as a StoreError that says what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"store {path} can't be {what}: {_explained(error)}") from error


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
