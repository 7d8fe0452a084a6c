"""How rows and messages look on a terminal: pure, apart from rich."""

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from localcloud.bigquery import QueryResult
from localcloud.pubsub.protobufs import Protobuf
from schemas.times import format_time

_SHOWN_DATA_BYTES = 400


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
        record = {name: plain(value) for name, value in zip(result.columns, row, strict=True)}
        yield json.dumps(record, ensure_ascii=False)


def rows_table(result: QueryResult) -> Table:
    """Return the rows as a table, numbers to the right."""
    table = Table()
    for name, kind in zip(result.columns, result.types, strict=True):
        table.add_column(
            name, justify="right" if kind.startswith(("INT", "FLOAT", "NUM")) else "left"
        )
    for row in result.rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    table.caption = f"{len(result.rows)} row{'' if len(result.rows) == 1 else 's'}"
    return table


def message_line(message: Protobuf) -> str:
    """Return a Pub/Sub message in one line: when, its attributes, its data."""
    attributes = " ".join(f"{name}={value}" for name, value in sorted(message.attributes.items()))
    published = message.publish_time.ToDatetime().strftime("%H:%M:%S.%f")[:-3]
    return f"{published}  {attributes}  {readable(message.data)}"


def readable(data: bytes) -> str:
    """Return bytes as text that can't harm a terminal, cut where they are many."""
    shown = data[:_SHOWN_DATA_BYTES].decode(errors="backslashreplace")
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in shown)
    return text + (f"… ({len(data)} bytes)" if len(data) > _SHOWN_DATA_BYTES else "")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(plain(value))
