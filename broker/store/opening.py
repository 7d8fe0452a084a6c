"""How a store's file is opened and held, and what SQLite's complaints mean for an operator."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from broker.errors import StoreError


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
        sqlite3.SQLITE_BUSY: "another broker has it",
        sqlite3.SQLITE_FULL: "the disk is full; make room and start again",
        sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, or put a copy in its place",
        sqlite3.SQLITE_NOTADB: "it is no SQLite file; move it away, or name another",
        sqlite3.SQLITE_READONLY: "it may not be written by this user",
        sqlite3.SQLITE_CANTOPEN: "its folder is missing, or not this user's to write",
    }.get(code)
    words = str(error)
    return words if advice is None else f"{advice} ({words})"
