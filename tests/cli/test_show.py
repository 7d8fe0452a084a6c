import json
from datetime import UTC, datetime

from rich.console import Console

from cli.show import json_rows, message_line, readable, rows_table, rows_text
from localcloud.bigquery import QueryResult
from localcloud.pubsub.protobufs import PubsubMessage

RESULT = QueryResult(
    columns=("device_id", "n", "at", "payload"),
    types=("STRING", "INTEGER", "TIMESTAMP", "JSON"),
    rows=[("a [bold]", 3, datetime(2026, 1, 31, 12, tzinfo=UTC), {"x": 1}), ("b", None, None, [])],
)


def test_rows_are_json_objects_one_a_line() -> None:
    first, second = (json.loads(line) for line in json_rows(RESULT))
    assert first == {
        "device_id": "a [bold]", "n": 3, "at": "2026-01-31T12:00:00.000Z", "payload": {"x": 1},
    }  # fmt: skip
    assert second["n"] is None


def test_a_table_shows_values_as_they_are() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(rows_table(RESULT))
    text = captured.get()
    assert "a [bold]" in text
    assert '{"x": 1}' in text
    assert "2 rows" in text


def test_rows_too_wide_for_a_table_have_a_line_for_each_column() -> None:
    assert "│" in rows_text(RESULT, width=100)
    assert rows_text(RESULT, width=40).splitlines() == [
        "-- row 1", "device_id: a [bold]", "n: 3", "at: 2026-01-31T12:00:00.000Z",
        'payload: {"x": 1}',
        "-- row 2", "device_id: b", "n: ", "at: ", "payload: []",
        "2 rows",
    ]  # fmt: skip


def test_a_value_stays_in_its_line_and_does_a_terminal_no_harm() -> None:
    result = QueryResult(columns=("x",), types=("STRING",), rows=[("a\n\x1b[2J" + "b" * 50,)])
    assert rows_text(result, width=40).splitlines()[1] == "x: a\\n\\x1b[2J" + "b" * 50


def test_bytes_can_do_a_terminal_no_harm() -> None:
    assert readable(b"\x1b[2J\xff ok \xc3\xbc") == "\\x1b[2J\\xff ok ü"
    assert readable(b"x" * 1000).endswith("… (1000 bytes)")


def test_a_message_is_one_line() -> None:
    message = PubsubMessage(data=b'{"a":\n1}', attributes={"deviceId": "d", "commandId": "c"})
    line = message_line(message)
    assert line.endswith('commandId=c deviceId=d  {"a":\\n1}')
