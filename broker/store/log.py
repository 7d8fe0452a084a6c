"""The newest messages, a turn in one row: most are gone before a row of their own would pay.

A message that is delivered at once costs a table two rows that come and two that go. So what a turn
brought, and what of that is gone, is appended to the table ``log`` as one value. Where the log has
grown to ``kept_bytes`` its oldest turn leaves it, and only what is still there goes into the tables
of messages, deliveries and waiting messages. A row is either in the log or in its table.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgpack

from broker.store import rows, schema
from broker.store.rows import Row

KEPT_BYTES = 16 * 1024 * 1024
"""What a start reads of it in a tenth of a second, and what it costs in memory, some times over."""

_LARGE_BYTES = 64 * 1024
"""A packet of so many is written once, into its table."""

MESSAGES, DELIVERIES, WAITING = range(3)
_TABLES = ("message", "delivery", "waiting")
_REMOVE = (schema.REMOVE_MESSAGES, schema.REMOVE_DELIVERIES, schema.REMOVE_WAITING)
_PACKET = 1


@dataclass(slots=True)
class RowChanges:
    """What a turn changed in the three tables, in the order of ``MESSAGES``, ``DELIVERIES``,
    ``WAITING``.

    ``added``: whole rows, the number first, ascending. ``gone``: numbers. ``packet_ids``: what
    deliveries of earlier turns were sent with, by number.
    """

    added: tuple[Sequence[Row], Sequence[Row], Sequence[Row]]
    gone: tuple[Sequence[int], Sequence[int], Sequence[int]]
    packet_ids: dict[int, int]


@dataclass(slots=True)
class _Turn:
    number: int
    size: int
    rows: list[list[int]] = field(default_factory=list)


class Log:
    """The log of one database, and what is live in it: ``live`` has the rows of each table.

    ``highest``: for each table, the highest number of a row that a turn of the log has, though it
    may be gone. Were it given again, that turn would take the new row for its own.

    Everything is called within transactions of the caller's.
    """

    def __init__(self, database: sqlite3.Connection, *, kept_bytes: int = KEPT_BYTES) -> None:
        self.live: tuple[dict[int, Row], ...] = ({}, {}, {})
        self._database = database
        self._kept_bytes = kept_bytes
        self._turns: deque[_Turn] = deque()
        self._bytes = 0
        self._next = 1
        self.highest = [0, 0, 0]
        for number, content in database.execute("SELECT turn, changes FROM log ORDER BY turn"):
            added, gone, packet_ids = msgpack.unpackb(content, use_list=False, strict_map_key=False)
            for live, numbers in zip(self.live, gone, strict=True):
                for row in numbers:
                    live.pop(row, None)
            for row, packet_id in packet_ids.items():
                if row in self.live[DELIVERIES]:
                    self._mark(row, packet_id)
            self._take(number, len(content), added)

    def append(self, changes: RowChanges) -> None:
        """Takes a turn's changes; those of rows that have left the log go to the tables."""
        gone = [self._remove(table, numbers) for table, numbers in enumerate(changes.gone)]
        packet_ids, older = {}, []
        for row, packet_id in changes.packet_ids.items():
            if row in self.live[DELIVERIES]:
                self._mark(row, packet_id)
                packet_ids[row] = packet_id
            else:
                older.append((packet_id, row))
        if older:
            self._database.executemany(schema.MARK_SENT, older)
        messages, *others = changes.added
        large = [row for row in messages if len(row[_PACKET]) > _LARGE_BYTES]
        if large:
            rows.insert(self._database, "message", large)
            messages = [row for row in messages if len(row[_PACKET]) <= _LARGE_BYTES]
        added = [messages, *others]
        if packet_ids or any(added) or any(gone):
            content = msgpack.packb([added, gone, packet_ids])
            self._database.execute(schema.ADD_TURN, (self._next, content))
            self._take(self._next, len(content), added)
        while self._bytes > self._kept_bytes:
            self._retire(self._turns.popleft())

    def _remove(self, table: int, numbers: Sequence[int]) -> list[int]:
        """Returns those that were in the log."""
        live = self.live[table]
        here = [row for row in numbers if live.pop(row, None) is not None]
        if len(here) < len(numbers):
            older = set(numbers).difference(here)
            self._database.executemany(_REMOVE[table], rows.runs(older))
        return here

    def _mark(self, row: int, packet_id: int) -> None:
        deliveries = self.live[DELIVERIES]
        deliveries[row] = (*deliveries[row][:-1], packet_id)

    def _take(self, number: int, size: int, added: Iterable[Sequence[Row]]) -> None:
        turn = _Turn(number, size)
        for live, new in zip(self.live, added, strict=True):
            numbers = [row[0] for row in new]
            live.update(zip(numbers, new, strict=True))
            turn.rows.append(numbers)
        self.highest = [
            max(highest, numbers[-1]) if numbers else highest
            for highest, numbers in zip(self.highest, turn.rows, strict=True)
        ]
        self._turns.append(turn)
        self._bytes += size
        self._next = number + 1

    def _retire(self, turn: _Turn) -> None:
        for table, live, numbers in zip(_TABLES, self.live, turn.rows, strict=True):
            rows.insert(self._database, table, [live.pop(row) for row in numbers if row in live])
        self._database.execute(schema.REMOVE_TURN, (turn.number,))
        self._bytes -= turn.size
