"""How rows and messages look on a terminal: pure, apart from rich."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from localcloud.bigquery import QueryResult
from localcloud.pubsub.protobufs import Protobuf
from schemas.times import format_time

_SHOWN_DATA_BYTES = 400
_WIDER_THAN_ANY_ROW = 1_000_000


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: times as RFC 3339, bytes as base64."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def json_rows(result: QueryResult) -> Iterator[str]:
    """Give each row as one JSON object."""
    for row in result.rows:
        yield json_object(dict(zip(result.columns, row, strict=True)))


def json_object(record: Mapping[str, Any]) -> str:
    """Return a record as one JSON object."""
    return json.dumps({name: plain(value) for name, value in record.items()}, ensure_ascii=False)


def rows_text(result: QueryResult, *, width: int) -> str:
    """Return the rows as a table, or one column a line where a table is wider than `width`."""
    table = rows_table(result)
    if Console(width=_WIDER_THAN_ANY_ROW).measure(table).maximum > width:
        return "\n".join(vertical_rows(result))
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def vertical_rows(result: QueryResult) -> Iterator[str]:
    """Give each row as a heading and a line a column, whatever its width."""
    for number, row in enumerate(result.rows, start=1):
        yield f"-- row {number}"
        for name, value in zip(result.columns, row, strict=True):
            yield f"{name}: {_printable(_cell(value))}"
    yield _row_count(result)


def rows_table(result: QueryResult) -> Table:
    """Return the rows as a table, numbers to the right."""
    table = Table()
    for name, kind in zip(result.columns, result.types, strict=True):
        table.add_column(
            name, justify="right" if kind.startswith(("INT", "FLOAT", "NUM")) else "left"
        )
    for row in result.rows:
        table.add_row(*(Text(_printable(_cell(value))) for value in row))
    table.caption = _row_count(result)
    return table


def message_line(message: Protobuf) -> str:
    """Return a Pub/Sub message in one line: when, its attributes, its data."""
    attributes = " ".join(f"{name}={value}" for name, value in sorted(message.attributes.items()))
    published = message.publish_time.ToDatetime().strftime("%H:%M:%S.%f")[:-3]
    return f"{published}  {attributes}  {readable(message.data)}"


def readable(data: bytes) -> str:
    """Return bytes as text that can't harm a terminal, cut where they are many."""
    shown = data[:_SHOWN_DATA_BYTES].decode(errors="backslashreplace")
    return _printable(shown) + (f"… ({len(data)} bytes)" if len(data) > _SHOWN_DATA_BYTES else "")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _row_count(result: QueryResult) -> str:
    return f"{len(result.rows)} row{'' if len(result.rows) == 1 else 's'}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(plain(value))
