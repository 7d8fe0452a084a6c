"""A look at a store that changes nothing: whether it could be opened, and what it holds.

Where there is no ``-wal`` beside the file it is read as one that nobody changes. Else it is read
through the ``-wal``, as its next broker will; the ``-shm`` that SQLite makes for that is removed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from broker.errors import StoreError
from broker.store import schema
from broker.store.log import MESSAGES, Log
from broker.store.opening import told


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a store holds. ``version`` 0: nothing yet."""

    version: int
    sessions: int = 0
    messages: int = 0

    def __str__(self) -> str:
        return held_in_words(self.sessions, self.messages)


def held_in_words(sessions: int, messages: int) -> str:
    """What a store holds, for people."""
    return (
        f"{sessions:,} session{'' if sessions == 1 else 's'},"
        f" {messages:,} message{'' if messages == 1 else 's'}"
    )


def examine(path: Path) -> Examined:
    """Reads the whole file once, and finds nothing wrong with it.

    Raises:
      StoreError: it is missing, held by a broker, damaged, no store, or of a version that this
        program does not know.
    """
    if not path.exists():
        raise StoreError(f"store {path} does not exist")
    with told(path, "read"), _unchanged(path) as database:
        version = schema.version_of(database)
        if version is None:
            raise StoreError(f"store {path}: {schema.FOREIGN}")
        if version > schema.VERSION:
            raise StoreError(f"store {path}: {schema.newer(version)}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"store {path}: it is damaged ({verdict}); put a backup in its place")
        if version < schema.VERSION:
            return Examined(version=version)
        sessions, messages = [
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # ours
            for table in ("session", "message")
        ]
        messages += len(Log(database).live[MESSAGES])
        return Examined(version=version, sessions=sessions, messages=messages)


@contextlib.contextmanager
def _unchanged(path: Path) -> Iterator[sqlite3.Connection]:
    shared = path.with_name(path.name + "-shm")
    has_log = path.with_name(path.name + "-wal").exists()
    had_shared = shared.exists()
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    database = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None, timeout=0
    )
    try:
        yield database
        if has_log and not had_shared:
            # While it is open, so that nobody else has made it theirs.
            shared.unlink(missing_ok=True)
    finally:
        database.close()
