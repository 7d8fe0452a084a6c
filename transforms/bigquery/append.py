"""Appends batches of rows until each row is in the table or refused.

    answer                                   what is done
    ────────────────────────────────────────────────────────────────────────────────────
    appended                                 done
    row_errors                               those rows are refused, the others sent again
    INVALID_ARGUMENT for the whole request   sent again in halves, down to the row at fault
    INTERNAL, UNKNOWN, again and again       the same: a row may be what breaks the service
    NOT_FOUND                                raises DestinationMissing
    PERMISSION_DENIED, UNAUTHENTICATED, …    raises DestinationRefused
    anything else, no answer, no connection  sent again after a pause of at most 1 s

[cloud.google.com/bigquery/docs/write-api-best-practices: error handling]
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1.types import AppendRowsResponse, StorageError

from mqtt.client.backoff import Backoff
from schemas.tables import Table
from transforms.bigquery.stream import (
    EMULATOR_VARIABLE,
    AppendStream,
    StreamBroken,
    TableName,
)
from transforms.errors import (
    DestinationError,
    DestinationMissing,
    DestinationRefused,
    DestinationUnavailable,
)

_LOG = logging.getLogger(__name__)

_IN_FLIGHT = 4
"""Requests on their way while the next is built."""
_ANSWER_SECONDS = 30.0
"""A request unanswered for so long is on a connection that is gone."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0
_LOG_EVERY_SECONDS = 10.0
_SUSPICIOUS_FAILURES = 5
"""INTERNAL or UNKNOWN so often in a row: the rows are at fault, not the service."""

_REFUSING = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)
_SUSPICIOUS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(slots=True)
class _Batch:
    """Rows of one request: their bytes, what the caller knows them by, and the request."""

    rows: list[bytes]
    tokens: list[Any]
    future: "Future[AppendRowsResponse]"
    started: float
    failures: int = field(default=0)


class BatchAppender:
    """Appends for one bundle at a time, several requests in flight.

    `refused` is called with a row's token and the reason the service gave. `counters` holds
    what happened since they were last taken: `appended`, `requests`, `retries`.
    """

    def __init__(
        self,
        stream: AppendStream,
        table: TableName,
        definition: Table,
        *,
        retry_seconds: float,
        refused: Callable[[Any, str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.latencies_ms: list[int] = []
        self._stream = stream
        self._table = table
        self._definition = definition
        self._retry_seconds = retry_seconds
        self._refused = refused
        self._clock = clock
        self._sleep = sleep
        self._flying: deque[_Batch] = deque()
        self._backoff = Backoff(
            initial_seconds=_FIRST_PAUSE_SECONDS, maximum_seconds=_LONGEST_PAUSE_SECONDS
        )
        self._logged = -_LOG_EVERY_SECONDS

    def send(self, rows: list[bytes], tokens: list[Any]) -> None:
        """Send a request; waits for the oldest one where several are under way.

        Raises:
          DestinationError: the table is missing, refuses us, or was away for too long.
        """
        while len(self._flying) >= _IN_FLIGHT:
            self._settle(self._flying.popleft())
        self._flying.append(self._batch(rows, tokens, self._clock()))

    def flush(self) -> None:
        """Return when every row sent is in the table or refused. Raises as `send`."""
        while self._flying:
            self._settle(self._flying.popleft())

    def forget(self) -> None:
        """Drop what is under way: its bundle failed and comes again."""
        self._flying.clear()

    def _batch(self, rows: list[bytes], tokens: list[Any], started: float) -> _Batch:
        self.counters["requests"] += 1
        return _Batch(rows, tokens, self._stream.submit(rows), started)

    def _settle(self, batch: _Batch) -> None:
        # Parts of a request that was refused whole, the first one on top.
        parts = [batch]
        while parts:
            parts.extend(reversed(self._settle_one(parts.pop())))

    def _settle_one(self, batch: _Batch) -> list[_Batch]:
        """Wait for one request; returns those that take its place."""
        while True:
            try:
                response = batch.future.result(timeout=_ANSWER_SECONDS)
            except TimeoutError:
                self._stream.reset()
                broken = StreamBroken(
                    grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {_ANSWER_SECONDS:g} s"
                )
            except StreamBroken as error:
                broken = error
            else:
                if not response.error.code:
                    self._backoff.reset()
                    self.counters["appended"] += len(batch.rows)
                    self.latencies_ms.append(int(1_000 * (self._clock() - batch.started)))
                    return []
                if response.row_errors:
                    return self._without_refused_rows(batch, response)
                code = _CODES.get(response.error.code, grpc.StatusCode.UNKNOWN)
                if _is_schema_mismatch(response):
                    raise self._mismatch(response.error.message)
                broken = StreamBroken(code, response.error.message)
            if broken.code is grpc.StatusCode.NOT_FOUND:
                raise missing_table(self._table, self._definition)
            if broken.code in _REFUSING:
                raise refused_table(self._table, broken.message)
            batch.failures = batch.failures + 1 if broken.code in _SUSPICIOUS else 0
            if (
                broken.code is grpc.StatusCode.INVALID_ARGUMENT
                or batch.failures >= _SUSPICIOUS_FAILURES
            ):
                return self._halves(batch, broken)
            self._pause(batch, broken)
            self.counters["retries"] += 1
            self.counters["requests"] += 1
            batch.future = self._stream.submit(batch.rows)

    def _without_refused_rows(self, batch: _Batch, response: AppendRowsResponse) -> list[_Batch]:
        reasons = {error.index: error.message for error in response.row_errors}
        for index, reason in reasons.items():
            self._refused(batch.tokens[index], f"BigQuery refused the row: {reason}")
        good = [index for index in range(len(batch.rows)) if index not in reasons]
        if not good:
            return []
        rows, tokens = [batch.rows[i] for i in good], [batch.tokens[i] for i in good]
        return [self._batch(rows, tokens, batch.started)]

    def _halves(self, batch: _Batch, broken: StreamBroken) -> list[_Batch]:
        count = len(batch.rows)
        if count == 1:
            self._refused(batch.tokens[0], f"BigQuery refused the row: {broken}")
            return []
        return [
            self._batch(batch.rows[part], batch.tokens[part], batch.started)
            for part in (slice(0, count // 2), slice(count // 2, count))
        ]

    def _pause(self, batch: _Batch, broken: StreamBroken) -> None:
        now = self._clock()
        waited = now - batch.started
        if waited > self._retry_seconds:
            raise DestinationUnavailable(
                f"BigQuery took no rows for table {self._table} in {waited:.0f} s ({broken})"
            )
        if now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            _LOG.warning("table %s: %s; trying again for %.0f s", self._table, broken, waited)
        self._sleep(self._backoff.next_pause_seconds())

    def _mismatch(self, message: str) -> DestinationRefused:
        return DestinationRefused(
            f"BigQuery table {self._table} has other columns than {self._definition.schema_file}: "
            f"{message}; mend it with `{update_command(self._table, self._definition)}`"
        )


def missing_table(table: TableName, definition: Table) -> DestinationError:
    """Return the error for a table that is not there, with the command that creates it."""
    command = definition.create_command(table.project, table.dataset, table.table)
    dataset = f"{table.project}:{table.dataset}"
    words = (
        f"BigQuery table {table} does not exist; create it with `{command}`, and before it its"
        f" dataset, where there is none, with `bq mk --dataset {dataset}`"
    )
    if os.environ.get(EMULATOR_VARIABLE):
        words += (
            f"; in the local BigQuery `mqttbeam local create --dataset {dataset}` makes"
            f" {dataset}.{definition.name}"
        )
    return DestinationMissing(words)


def refused_table(table: TableName, message: str) -> DestinationError:
    """Return the error for a table we may not write to."""
    return DestinationRefused(
        f"BigQuery table {table}: {message}; give the pipeline's service account "
        f"roles/bigquery.dataEditor on it: `{grant_command(table, 'serviceAccount:ACCOUNT')}`"
    )


def grant_command(table: TableName, member: str) -> str:
    """Return the command that lets `member` append to a table."""
    return (
        f'bq add-iam-policy-binding --member="{member}" --role=roles/bigquery.dataEditor '
        f"{_colon(table)}"
    )


def update_command(table: TableName, definition: Table) -> str:
    """Return the command that adds the columns that a table lacks."""
    return f"bq update {_colon(table)} {definition.schema_file}"


def _colon(table: TableName) -> str:
    return f"{table.project}:{table.dataset}.{table.table}"


def _is_schema_mismatch(response: AppendRowsResponse) -> bool:
    mismatch = StorageError.StorageErrorCode.SCHEMA_MISMATCH_EXTRA_FIELDS
    details: Sequence[Any] = response.error.details
    for detail in details:
        error = StorageError.pb()()
        if detail.Is(error.DESCRIPTOR) and detail.Unpack(error) and error.code == mismatch:
            return True
    return False
