"""The store's tables, and the statements that read and write them.

One table for each kind of fact, and what is newest of messages in ``log``. Rows of messages,
deliveries and waiting messages are numbered by the core's journal, each in an ascending sequence,
so that their order is that of their making.
Times are seconds since 1970, UTC.
"""

from __future__ import annotations

import sqlite3

_FIRST = """
CREATE TABLE session (
  client_id TEXT PRIMARY KEY, owner TEXT NOT NULL, device INTEGER NOT NULL,
  expiry_seconds INTEGER NOT NULL, ended_at REAL
) WITHOUT ROWID;
CREATE TABLE subscription (
  client_id TEXT NOT NULL, topic_filter TEXT NOT NULL, qos INTEGER NOT NULL,
  no_local INTEGER NOT NULL, retain_as_published INTEGER NOT NULL, identifier INTEGER,
  PRIMARY KEY (client_id, topic_filter)
) WITHOUT ROWID;
CREATE TABLE message (
  row INTEGER PRIMARY KEY, packet BLOB NOT NULL, topic TEXT NOT NULL, publisher TEXT NOT NULL,
  expires_at REAL
);
CREATE TABLE delivery (
  row INTEGER PRIMARY KEY, client_id TEXT NOT NULL, message INTEGER NOT NULL, qos INTEGER NOT NULL,
  retain INTEGER NOT NULL, subscription_ids TEXT NOT NULL, share_filter TEXT,
  packet_id INTEGER NOT NULL
);
CREATE TABLE waiting (
  row INTEGER PRIMARY KEY, share_filter TEXT NOT NULL, message INTEGER NOT NULL
);
CREATE TABLE received (
  client_id TEXT NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (client_id, packet_id)
) WITHOUT ROWID;
CREATE TABLE released (
  row INTEGER PRIMARY KEY, client_id TEXT NOT NULL, packet_id INTEGER NOT NULL,
  UNIQUE (client_id, packet_id)
);
CREATE TABLE retained (topic TEXT PRIMARY KEY, message INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE will (
  client_id TEXT PRIMARY KEY, connect BLOB NOT NULL, publish_at REAL
) WITHOUT ROWID;
"""

_LOG = """
CREATE TABLE log (turn INTEGER PRIMARY KEY, changes BLOB NOT NULL);
"""

STEPS = (_FIRST, _LOG)
"""What makes each version of the tables from the one before, the first from nothing.

A step that was released is never changed: a new one is added behind it.
"""

VERSION = len(STEPS)
"""``PRAGMA user_version`` of the tables that this program reads and writes."""

FOREIGN = "its tables are another program's; name another file"


def version_of(database: sqlite3.Connection) -> int | None:
    """The version of a database's tables, 0 where there are none; None: another program's."""
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version or not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return version
    return None


def newer(version: int) -> str:
    """What to do about a version that this program does not know."""
    return (
        f"version {version} is newer than {VERSION}, the newest that this program knows; start the"
        " program that made it, or restore a backup from before"
    )


KEEP_SESSION = "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?)"
END_SESSION = (
    "DELETE FROM session WHERE client_id = ?",
    "DELETE FROM subscription WHERE client_id = ?",
    "DELETE FROM received WHERE client_id = ?",
    "DELETE FROM released WHERE client_id = ?",
)
SUBSCRIBE = "INSERT OR REPLACE INTO subscription VALUES (?, ?, ?, ?, ?, ?)"
UNSUBSCRIBE = "DELETE FROM subscription WHERE client_id = ? AND topic_filter = ?"
ADD_RECEIVED = "INSERT OR REPLACE INTO received VALUES (?, ?)"
REMOVE_RECEIVED = "DELETE FROM received WHERE client_id = ? AND packet_id = ?"
ADD_RELEASED = "INSERT OR REPLACE INTO released (client_id, packet_id) VALUES (?, ?)"
REMOVE_RELEASED = "DELETE FROM released WHERE client_id = ? AND packet_id = ?"
KEEP_WILL = "INSERT OR REPLACE INTO will VALUES (?, ?, ?)"
REMOVE_WILL = "DELETE FROM will WHERE client_id = ?"

ADD_TURN = "INSERT INTO log VALUES (?, ?)"
REMOVE_TURN = "DELETE FROM log WHERE turn = ?"
MARK_SENT = "UPDATE delivery SET packet_id = ? WHERE row = ?"
REMOVE_MESSAGES = "DELETE FROM message WHERE row BETWEEN ? AND ?"
REMOVE_DELIVERIES = "DELETE FROM delivery WHERE row BETWEEN ? AND ?"
REMOVE_WAITING = "DELETE FROM waiting WHERE row BETWEEN ? AND ?"
ALL_ROWS = ("SELECT * FROM message", "SELECT * FROM delivery", "SELECT * FROM waiting")
HIGHEST_ROWS = (
    "SELECT coalesce(max(row), 0) FROM message",
    "SELECT coalesce(max(row), 0) FROM delivery",
    "SELECT coalesce(max(row), 0) FROM waiting",
)
KEEP_RETAINED = "INSERT OR REPLACE INTO retained VALUES (?, ?)"
REMOVE_RETAINED = "DELETE FROM retained WHERE topic = ?"
