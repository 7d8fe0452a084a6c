"""`AppendToBigQuery`: rows to a table by the Storage Write API, without Java.

Guarantee
  At least once. A bundle ends when every row of it is in the table or comes out as Rejected; a
  bundle, or a request whose answer was lost, that is tried again appends again. Rows are
  committed, and seen by queries, when their request is answered (default stream).
Unit of parallelism
  A bundle; a worker process has one AppendRows stream to a table, requests of up to 500 rows
  and 9.5 MB, four in flight for a bundle.
Ordering
  None.
Types
  In: mappings of column names to values (see `rows`), or `TableRow` where a refused row is to
  keep the bytes it came from. Out: `schemas.messages.Rejected`, stage `bigquery`, origin the
  table.
Errors
  A row the table can't take is an output, found here (required, type, unknown column) or by the
  service; its neighbours are appended. A missing table, a missing right and other columns raise
  DestinationMissing or DestinationRefused; `check_table` finds them before the start. A service
  that is away is waited for, with pauses of at most 1 s.
Endpoint
  BigQuery with the environment's credentials, or the emulator that
  BIGQUERY_STORAGE_EMULATOR_HOST names (`host:port`, without credentials).
Metrics
  Namespace `bigquery`: appended, rejected, requests, retries, streams_opened;
  append_latency_ms.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from schemas.messages import Rejected
from schemas.tables import Table
from transforms.bigquery.append import BatchAppender
from transforms.bigquery.check import check_table
from transforms.bigquery.rows import (
    MAXIMUM_REQUEST_BYTES,
    MAXIMUM_REQUEST_ROWS,
    InvalidRow,
    RowWriter,
)
from transforms.bigquery.stream import EMULATOR_VARIABLE, AppendStream, TableName, open_client
from transforms.errors import InvalidSetting

__all__ = ["AppendToBigQuery", "TableRow", "check_table"]

STAGE = "bigquery"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row with the message it was made from, which a refused row hands on untouched."""

    values: Mapping[str, Any]
    raw: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


class AppendToBigQuery(beam.PTransform):
    """Appends rows; see the module for guarantee, parallelism, ordering and errors.

    Args:
      table: `project.dataset.table` or `project:dataset.table`; it must be there.
      definition: its columns.
      retry_seconds: how long an unavailable service is waited for before the bundle fails, and
        with it, on most runners, the pipeline.

    Input: PCollection of mappings or TableRow.
    Output: PCollection of Rejected.
    """

    def __init__(self, table: str, definition: Table, *, retry_seconds: float = 600.0) -> None:
        super().__init__()
        if retry_seconds < 0:
            raise InvalidSetting(f"retry_seconds is {retry_seconds}: 0 or more is needed")
        RowWriter(definition.fields)  # an impossible column is refused now, not on a worker
        self._dofn = _Append(TableName.parse(table), definition, retry_seconds)

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Append in the stage that made the rows."""
        return pcoll | "Append" >> beam.ParDo(self._dofn).with_output_types(Rejected)


class _Append(beam.DoFn):
    """Appends a bundle."""

    def __init__(self, table: TableName, definition: Table, retry_seconds: float) -> None:
        self._table = table
        self._definition = definition
        self._retry_seconds = retry_seconds
        self._rows: list[bytes] = []
        self._elements: list[Mapping[str, Any] | TableRow] = []
        self._bytes = 0
        self._rejected: list[Rejected] = []
        self._count = {
            name: Metrics.counter(STAGE, name) for name in ("appended", "requests", "retries")
        }
        self._rejections = Metrics.counter(STAGE, "rejected")
        self._opened = Metrics.counter(STAGE, "streams_opened")
        self._latency = Metrics.distribution(STAGE, "append_latency_ms")

    def setup(self) -> None:
        self._writer = RowWriter(self._definition.fields)
        self._stream = _shared_stream(self._table, self._writer)
        self._appender = BatchAppender(
            self._stream,
            self._table,
            self._definition,
            retry_seconds=self._retry_seconds,
            refused=self._reject,
        )

    def start_bundle(self) -> None:
        # A bundle that failed left things behind; its rows come again.
        self._appender.forget()
        self._clear()
        self._rejected.clear()

    def process(self, element: Mapping[str, Any] | TableRow) -> None:
        values = element.values if isinstance(element, TableRow) else element
        try:
            row = self._writer.serialize(values)
        except InvalidRow as error:
            self._reject(element, str(error))
            return
        size = len(row) + 8  # its tag and length in the request
        if len(self._rows) >= MAXIMUM_REQUEST_ROWS or self._bytes + size > MAXIMUM_REQUEST_BYTES:
            self._send()
        self._rows.append(row)
        self._elements.append(element)
        self._bytes += size

    def finish_bundle(self) -> Iterable[WindowedValue]:
        self._send()
        self._appender.flush()
        counters = self._appender.counters
        for name, counter in self._count.items():
            counter.inc(counters.pop(name, 0))
        for milliseconds in self._appender.latencies_ms:
            self._latency.update(milliseconds)
        self._appender.latencies_ms.clear()
        self._opened.inc(self._stream.take_opened())
        rejected, self._rejected = self._rejected, []
        self._rejections.inc(len(rejected))
        # The reason is a fact about now, not about the row's window.
        return [WindowedValue(item, MIN_TIMESTAMP, [GlobalWindow()]) for item in rejected]

    def _send(self) -> None:
        if self._rows:
            self._appender.send(self._rows, self._elements)
            self._clear()

    def _clear(self) -> None:
        self._rows, self._elements, self._bytes = [], [], 0

    def _reject(self, element: Mapping[str, Any] | TableRow, reason: str) -> None:
        if isinstance(element, TableRow):
            raw, attributes = element.raw, element.attributes
        else:
            raw, attributes = json.dumps(element, default=str).encode(), {}
        self._rejected.append(
            Rejected(
                stage=STAGE,
                reason=reason,
                origin=str(self._table),
                raw=raw,
                attributes=attributes,
                time=datetime.now(UTC),
            )
        )


_LOCK = threading.Lock()
_STREAMS: dict[tuple[str | None, TableName, bytes], AppendStream] = {}


def _shared_stream(table: TableName, writer: RowWriter) -> AppendStream:
    """One stream a process, table and set of columns: DoFn instances come and go."""
    address = os.environ.get(EMULATOR_VARIABLE)
    key = (address, table, writer.descriptor.SerializeToString())
    with _LOCK:
        if key not in _STREAMS:
            _STREAMS[key] = AppendStream(open_client(), table, writer.descriptor)
        return _STREAMS[key]
