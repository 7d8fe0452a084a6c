"""How a store's file is opened and held, and what SQLite's complaints mean for an operator."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from broker.errors import StoreError
from broker.file_rights import obstacle_behind


def hold(database: sqlite3.Connection) -> None:
    """Nobody else has the file from here on until it is closed, or the process is gone."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    # It is taken by the first read.
    database.execute("PRAGMA user_version").fetchone()


@contextlib.contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """An existing store's database, for whoever works on it while no broker has it.

    Raises:
      sqlite3.Error: a broker has it, or it can't be opened.
    """
    uri = f"file:{quote(str(path))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)) as database:
        hold(database)
        yield database


class Place:
    """The files of an open store, as they were: SQLite writes on into files that nobody finds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # SQLite removes the second when the store is closed.
        self._paths = (path, path.with_name(f"{path.name}-wal"))
        self._files = [_identity(each) for each in self._paths]

    def check(self) -> None:
        """Raises StoreError if one of them was deleted, moved away or replaced."""
        for path, known in zip(self._paths, self._files, strict=True):
            if _identity(path) != known:
                raise StoreError(
                    f"store {self._path}: {path.name} was deleted, moved away or replaced while the"
                    " broker ran, so what is written would be lost; put a copy in its place"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Raises what SQLite and the system complain of as a StoreError that says what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"store {path} can't be {what}: {_explained(path, error)}") from error


def _explained(path: Path, error: sqlite3.Error | OSError) -> str:
    found = obstacle_behind(path, error)
    if found is not None:
        return found
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    advice = {
        sqlite3.SQLITE_BUSY: "another broker has it; stop it first, or for a backup ask it by its"
        " administration socket",
        sqlite3.SQLITE_FULL: "the disk is full; make room and start again",
        sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, or put a copy in its place",
        sqlite3.SQLITE_NOTADB: "it is no SQLite file; move it away, or name another",
        sqlite3.SQLITE_READONLY: "it may not be written",
    }.get(code)
    words = " ".join(str(error).split())
    return words if advice is None else f"{advice} ({words})"
