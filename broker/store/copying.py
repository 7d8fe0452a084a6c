"""Backup and restore: a store's file copied whole, by SQLite's own means, and checked.

A copy is one file (no ``-wal``), readable by its owner alone. It gets its name when it is complete,
found sound and on the disk, so what bears the name of a backup is one.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from itertools import count
from pathlib import Path
from urllib.parse import quote

from broker.errors import StoreError
from broker.store.examining import examine
from broker.store.opening import held, told

PAGES_AT_ONCE = 64
"""Pages (4 KiB each) copied in one step, during which nobody else can use the connection."""

PAUSE_SECONDS = 0.001
"""Between two steps, for what waits to be committed."""

STEPS_A_SYNC = 16
"""Little by little: all of it at the end would hold up the commits' own syncs."""

_SUFFIXES = ("-wal", "-shm", "")


def copy(
    source: sqlite3.Connection,
    target: Path,
    *,
    turn: threading.Lock | None = None,
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Copies what an open database holds when the copy is complete.

    With ``turn`` it may be written meanwhile, through the same connection, by whoever has that
    lock: it is held for one step at a time. ``goes_on`` is asked between the steps.

    Raises:
      StoreError: there is such a file, it can't be written, or ``goes_on`` said no.
    """
    if target.exists():
        raise StoreError(f"{target} exists; a backup replaces nothing, so name another file")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    turn = turn or threading.Lock()
    steps = count(1)

    def rest() -> None:
        if not goes_on():
            raise StoreError(f"backup {target} was given up: the broker stops")
        turn.release()
        try:
            time.sleep(PAUSE_SECONDS)
            if next(steps) % STEPS_A_SYNC == 0:
                _sync(partial)
        finally:
            turn.acquire()

    try:
        with told(target, "written"):
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(partial, isolation_level=None)) as database:
                # It is synced by us, while nobody waits for it.
                database.execute("PRAGMA synchronous = OFF")
                with turn:
                    source.backup(database, pages=PAGES_AT_ONCE, progress=lambda *step: rest())
                database.execute("PRAGMA journal_mode = DELETE")
            examine(partial)
            _sync(partial)
            partial.rename(target)
            _sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def backup(path: Path, target: Path) -> None:
    """Copies a store that no broker has open, and holds it meanwhile.

    Raises:
      StoreError: a broker has it, it is damaged or no store, or the target can't be made.
    """
    _must_hold_something(path)
    with told(path, "read"), held(path) as source:
        copy(source, target)


def restore(path: Path, source: Path, *, force: bool, now: datetime) -> Path | None:
    """Puts a backup in a store's place.

    Returns where the store is that was there before, with ``now`` in its name; None where there
    was none. ``force``: whether there may be one.

    Raises:
      StoreError: the backup is damaged or of a newer version; a store is there and ``force`` isn't
        given; a broker has it.
    """
    _must_hold_something(source)
    is_there = path.exists()
    if is_there:
        if path.samefile(source):
            raise StoreError(f"{source} is the store itself; name a backup of it")
        age = "newer than" if _changed(path) > _changed(source) else "older than"
        _close_and_fold(path)
        if not force:
            raise StoreError(
                f"store {path} exists and is {age} the backup; with --force it is put aside"
            )
    aside = path.with_name(f"{path.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    if aside.exists():
        raise StoreError(f"{aside} exists; move it away")
    ready = path.with_name(f".{path.name}.{secrets.token_hex(4)}.restored")
    uri = f"file:{quote(str(source))}?mode=ro"
    with told(path, "replaced"):
        try:
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
                copy(database, ready)
            # What is left of a log, too: that of the one would be read into the other.
            for suffix in _SUFFIXES:
                old = path.with_name(path.name + suffix)
                if old.exists():
                    old.rename(aside.with_name(aside.name + suffix))
            ready.rename(path)
            _sync(path.parent)
        finally:
            ready.unlink(missing_ok=True)
    return aside if is_there else None


def _must_hold_something(path: Path) -> None:
    """Of nothing there is no backup: it would look like a good one."""
    if not examine(path).version:
        raise StoreError(f"{path} is empty: no broker has used it as its store")


def _close_and_fold(path: Path) -> None:
    """Brings all of a store into its one file; what is damaged is left as it is."""
    try:
        with told(path, "replaced"), held(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except StoreError as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise


def _changed(path: Path) -> float:
    log = path.with_name(f"{path.name}-wal")
    return max(file.stat().st_mtime for file in (path, log) if file.exists())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
