"""The log against a model of it: three dictionaries of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.store import schema
from broker.store.log import DELIVERIES, MESSAGES, Log, RowChanges
from broker.store.rows import Row, runs


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(" ".join(schema.STEPS))
        yield opened


def message(row: int, payload: bytes = b"x") -> Row:
    return row, payload, "a", "p", None


def delivery(row: int, packet_id: int = 0) -> Row:
    return row, "c", row, 1, 0, "", None, packet_id


def waiting(row: int) -> Row:
    return row, "$share/g/a", row


def held(log: Log, opened: sqlite3.Connection) -> list[dict[int, Row]]:
    found = []
    for table, statement in enumerate(schema.ALL_ROWS):
        older = {row[0]: row for row in opened.execute(statement)}
        assert not older.keys() & log.live[table].keys(), "a row is in one place"
        found.append(older | log.live[table])
    return found


def changes(
    *added: list[Row], gone: tuple[Any, Any, Any] = ((), (), ()), packet_ids: Any = None
) -> RowChanges:
    messages, deliveries, others = [*added, [], [], []][:3]
    return RowChanges((messages, deliveries, others), gone, packet_ids or {})


def in_tables(opened: sqlite3.Connection) -> int:
    found: int = opened.execute("SELECT count(*) FROM message").fetchone()[0]
    return found


TURN = st.tuples(
    st.integers(0, 4),
    st.sets(st.integers(1, 60), max_size=12),
    st.dictionaries(st.integers(1, 60), st.integers(1, 65_535), max_size=5),
    st.sampled_from([10, 300, 70_000]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TURN, min_size=5, max_size=25))
def test_what_is_in_the_log_and_in_the_tables_together_is_what_was_added_and_is_not_gone(
    turns: list[tuple[int, set[int], dict[int, int], int]],
) -> None:
    model: list[dict[int, Row]] = [{}, {}, {}]
    row = 0
    with database() as opened:
        log = Log(opened, kept_bytes=1_500)
        for count, gone, packet_ids, size in turns:
            numbers = range(row + 1, row + count + 1)
            row += count
            gone &= model[MESSAGES].keys()
            packet_ids = {
                key: value
                for key, value in packet_ids.items()
                if key in model[DELIVERIES] and key not in gone
            }
            added = (
                [message(number, b"." * size) for number in numbers],
                [delivery(number) for number in numbers],
                [waiting(number) for number in numbers],
            )
            order = tuple(gone)
            log.append(RowChanges(added, (order, order, order), packet_ids))
            for table, new in zip(model, added, strict=True):
                for number in gone:
                    del table[number]
                table.update({each[0]: each for each in new})
            for number, packet_id in packet_ids.items():
                model[DELIVERIES][number] = delivery(number, packet_id)
            assert held(log, opened) == model
            # Read anew, as after a crash.
            assert held(Log(opened), opened) == model


def test_what_comes_and_goes_within_the_log_never_reaches_a_table() -> None:
    with database() as opened:
        log = Log(opened, kept_bytes=1_000)
        for row in range(1, 200):
            gone = [row - 1] if row > 1 else []
            log.append(changes([message(row)], [delivery(row)], [], gone=(gone, gone, [])))
            assert in_tables(opened) == 0
        (turns,) = opened.execute("SELECT count(*) FROM log").fetchone()
        assert 0 < turns < 100


def test_a_large_message_is_written_once() -> None:
    with database() as opened:
        log = Log(opened)
        log.append(changes([message(1, b"." * 100_000), message(2)]))
        assert in_tables(opened) == 1
        (longest,) = opened.execute("SELECT max(length(changes)) FROM log").fetchone()
        assert longest < 1_000
        assert sorted(held(log, opened)[MESSAGES]) == [1, 2]


def test_hundreds_of_rows_at_once_are_as_one_by_one() -> None:
    with database() as opened:
        log = Log(opened, kept_bytes=0)
        many = [message(row) for row in range(1, 1_001)]
        log.append(changes(many))
        assert in_tables(opened) == 1_000
        log.append(changes(gone=(list(range(1, 1_000, 2)), [], [])))
        assert sorted(held(log, opened)[MESSAGES]) == list(range(2, 1_001, 2))


def test_runs_are_what_is_consecutive() -> None:
    assert list(runs([3, 1, 2])) == [(1, 3)]
    assert list(runs([7, 1, 2, 4])) == [(1, 2), (4, 4), (7, 7)]
    assert list(runs([5])) == [(5, 5)]
