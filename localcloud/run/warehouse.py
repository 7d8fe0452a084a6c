"""What the local BigQuery holds of this run, asked over its REST API."""

import threading
import time

from localcloud.bigquery import LocalBigQuery
from localcloud.endpoints import DATASET, PROJECT
from schemas.tables import DEAD_LETTERS, TELEMETRY

POLL_FIRST_SECONDS = 0.25
POLL_SECONDS = 2.0


class Warehouse:
    """Questions about one run: its rows are those whose message ids begin with its id."""

    def __init__(self, address: str, *, run_id: str) -> None:
        self._bigquery = LocalBigQuery(address)
        self._where = f"WHERE STARTS_WITH(message_id, '{run_id}-')"
        self._run_id = run_id

    def rows(self) -> int:
        """Return how many rows of telemetry there are, repeats counted."""
        sql = f"SELECT COUNT(*) FROM `{PROJECT}.{DATASET}.{TELEMETRY.name}` {self._where}"  # noqa: S608 - names of our own
        return int(self._bigquery.query(sql).rows[0][0])

    def copies(self) -> dict[str, int]:
        """Return each message id with the number of its rows."""
        sql = (
            f"SELECT message_id, COUNT(*) FROM `{PROJECT}.{DATASET}.{TELEMETRY.name}` "  # noqa: S608 - names of our own
            f"{self._where} GROUP BY message_id"
        )
        return {message_id: int(count) for message_id, count in self._bigquery.query(sql).rows}

    def dead_letters(self) -> set[str]:
        """Return the message ids of this run in the table of dead letters."""
        sql = (
            "SELECT DISTINCT JSON_VALUE(attributes, '$.messageId') AS message_id "  # noqa: S608 - names of our own
            f"FROM `{PROJECT}.{DATASET}.{DEAD_LETTERS.name}`"
        )
        found = {message_id for (message_id,) in self._bigquery.query(sql).rows}
        return {each for each in found if each and each.startswith(f"{self._run_id}-")}


class RowCounter:
    """A thread that keeps `rows` up to date, and notes when the first one came.

    An error of its own is kept in `error`, for the runner to raise.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.rows = 0
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
                if self.rows and self.first_row_at is None:
                    self.first_row_at = time.monotonic()
                self._closing.wait(POLL_SECONDS if self.rows else POLL_FIRST_SECONDS)
        except Exception as error:  # noqa: BLE001 - carried to the runner, which raises it
            self.error = error
