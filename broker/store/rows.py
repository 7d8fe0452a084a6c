"""Many rows at once: a call of SQLite for each would cost more than what it does."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

_ROWS_AT_ONCE = 256
"""So many fit into a statement: SQLite takes 32,766 values, and a row has eight at most."""


Row = tuple[Any, ...]


def insert(database: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Inserts rows that have a value for each of the table's columns."""
    if not rows:
        return
    columns = len(rows[0])
    whole = len(rows) - len(rows) % _ROWS_AT_ONCE
    for start in range(0, whole, _ROWS_AT_ONCE):
        values = chain.from_iterable(rows[start : start + _ROWS_AT_ONCE])
        database.execute(_statement(table, columns, _ROWS_AT_ONCE), list(values))
    if whole < len(rows):
        database.executemany(_statement(table, columns, 1), rows[whole:])


def runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of consecutive numbers, ascending."""
    ordered = sorted(numbers)
    first = last = ordered[0]
    if ordered[-1] - first == len(ordered) - 1:
        yield first, ordered[-1]
        return
    for number in ordered:
        if number > last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


@cache
def _statement(table: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * rows)}"  # noqa: S608 - our own tables' names
