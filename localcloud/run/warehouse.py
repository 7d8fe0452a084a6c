"""What the local BigQuery holds of this run, asked over its REST API."""

import threading
import time
from dataclasses import dataclass

from localcloud.bigquery import BigQueryError, LocalBigQuery
from localcloud.endpoints import DATASET, PROJECT
from schemas.tables import DEAD_LETTERS, TELEMETRY

POLL_FIRST_SECONDS = 0.25
POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOfDeadLetters:
    """The dead letters of a run in BigQuery: their ids, and the last one's reason."""

    ids: frozenset[str] = frozenset()
    last_reason: str = ""


class Warehouse:
    """Questions about one run: its rows are those whose message ids begin with its id.

    `since` is its start in seconds since the epoch: a dead letter may have no message id.
    """

    def __init__(self, address: str, *, run_id: str, since: float) -> None:
        self._bigquery = LocalBigQuery(address)
        self._telemetry = (
            f"FROM `{PROJECT}.{DATASET}.{TELEMETRY.name}` "
            f"WHERE STARTS_WITH(message_id, '{run_id}-')"
        )
        self._dead_letters = (
            f"FROM `{PROJECT}.{DATASET}.{DEAD_LETTERS.name}` "
            f"WHERE rejected_time >= TIMESTAMP_MICROS({int(since * 1_000_000)})"
        )

    def rows(self) -> int:
        """Return how many rows of telemetry there are, repeats counted."""
        return int(self._bigquery.query(f"SELECT COUNT(*) {self._telemetry}").rows[0][0])

    def copies(self) -> dict[str, int]:
        """Return each message id with the number of its rows."""
        sql = f"SELECT message_id, COUNT(*) {self._telemetry} GROUP BY message_id"
        return {message_id: int(count) for message_id, count in self._bigquery.query(sql).rows}

    def dead_letters(self) -> TableOfDeadLetters:
        """Return the dead letters since the start, those without a message id each as one."""
        rows = self._bigquery.query(
            "SELECT JSON_VALUE(attributes, '$.messageId') AS message_id, reason "
            f"{self._dead_letters} ORDER BY rejected_time"
        ).rows
        return TableOfDeadLetters(
            ids=frozenset(
                message_id or f"row {number}" for number, (message_id, _) in enumerate(rows)
            ),
            last_reason=rows[-1][1] if rows else "",
        )


class RowCounter:
    """A thread that keeps `rows` and `dead_letters` up to date, and notes when the first row came.

    An error of its own is kept in `error`, for the runner to raise.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.rows = 0
        self.counted_at = 0.0
        self.dead_letters = TableOfDeadLetters()
        self.first_row_at: float | None = None
        self.error: Exception | None = None
        self._warehouse = warehouse
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="count rows", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self.rows = self._warehouse.rows()
                self.counted_at = time.monotonic()
                if self.rows and self.first_row_at is None:
                    self.first_row_at = time.monotonic()
                if self.rows:
                    self.dead_letters = self._warehouse.dead_letters()
                self._closing.wait(POLL_SECONDS if self.rows else POLL_FIRST_SECONDS)
        except BigQueryError as error:
            self.error = error
