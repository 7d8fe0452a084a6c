"""What a user may not do with an SQLite file, which SQLite itself tells by other names.

It keeps files beside the database, so the folder must be writable, too.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

_MAY_BE_RIGHTS = frozenset(
    (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    )
)

_BESIDE = ("", "-wal", "-shm")


def obstacle(path: Path) -> str | None:
    """What keeps this user from writing a database, and what to do about it; None: nothing.

    Looks at the file, those that SQLite keeps beside it, and the folder.
    """
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}; make it, or name another file"
    if path.is_dir():
        return "it is a folder; name a file in it"
    for suffix in _BESIDE:
        file = path.with_name(path.name + suffix)
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            return f"{file.name} may not be read and written by {_user()}; {_remedy(file)}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"its folder {folder} may not be written by {_user()}, and SQLite keeps files beside"
            f" it; {_remedy(folder)}"
        )
    return None


def obstacle_behind(path: Path, error: BaseException | None) -> str | None:
    """The same, where an error of SQLite's or the system's may come of it; "disk I/O error" can."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return obstacle(path) if isinstance(error, OSError) or code in _MAY_BE_RIGHTS else None


def _user() -> str:
    return f"this user (uid {os.getuid()})"


def _remedy(path: Path) -> str:
    return f"give {path} to the broker's user (chown), or run this as that user"
