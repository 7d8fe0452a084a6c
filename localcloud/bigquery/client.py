"""A client for the local BigQuery's REST API, on the standard library.

Plain HTTP, since `google-cloud-bigquery` takes a second to import and speaks to a job API
that answers a small query in three round trips instead of one.
"""

import base64
import http.client
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.tables import TABLES, VIEWS, Table, View

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Everything in one answer: paging would run the query's result through the job store.
_ALL_ROWS = 100_000_000


class BigQueryError(Exception):
    """The local BigQuery refused a request; the message is the service's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """What a query answered: column names and types, and rows of Python values.

    INT64 is int, FLOAT64 float, BOOL bool, TIMESTAMP an aware datetime, BYTES bytes, JSON
    what it decodes to, REPEATED a list, and everything else text.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class LocalBigQuery:
    """One project of the local BigQuery at `address` (`host:port`); safe for threads."""

    def __init__(
        self, address: str, *, project: str = "local", timeout_seconds: float = 60.0
    ) -> None:
        self._address = address.removeprefix("http://")
        self._project = project
        self._timeout_seconds = timeout_seconds

    def create(
        self, dataset: str, tables: Iterable[Table] = TABLES, views: Iterable[View] = VIEWS
    ) -> None:
        """Create the dataset, its tables and its views, as far as they are not there."""
        reference = {"projectId": self._project, "datasetId": dataset}
        self._create("/datasets", {"datasetReference": reference})
        for table in tables:
            fields = [
                {"name": field.name, "type": field.type, "mode": field.mode}
                for field in table.fields
            ]
            body: dict[str, Any] = {
                "tableReference": {**reference, "tableId": table.name},
                "schema": {"fields": fields},
            }
            if table.partitioned_by:
                body["timePartitioning"] = {"type": "DAY", "field": table.partitioned_by}
            if table.clustered_by:
                body["clustering"] = {"fields": list(table.clustered_by)}
            self._create(f"/datasets/{dataset}/tables", body)
        for view in views:
            self._create(
                f"/datasets/{dataset}/tables",
                {
                    "tableReference": {**reference, "tableId": view.name},
                    "view": {
                        "query": view.query.format(dataset=f"{self._project}.{dataset}"),
                        "useLegacySql": False,
                    },
                },
            )

    def query(self, sql: str) -> QueryResult:
        """Run GoogleSQL and return all its rows; raises BigQueryError.

        Tables are named with their dataset: the emulator knows no default one.
        """
        body = {"query": sql, "useLegacySql": False, "maxResults": _ALL_ROWS}
        answer = self._request("POST", "/queries", body)
        # The emulator keeps every result until its job is deleted.
        job = answer["jobReference"]["jobId"]
        self._request("DELETE", f"/jobs/{job}/delete")
        if errors := answer.get("errors"):
            raise BigQueryError(str(errors[0].get("message", errors[0])))
        fields = answer["schema"]["fields"]
        readers = [_reader(field) for field in fields]
        return QueryResult(
            columns=tuple(field["name"] for field in fields),
            types=tuple(field["type"] for field in fields),
            rows=[
                tuple(
                    None if (value := cell["v"]) is None else read(value)
                    for read, cell in zip(readers, row["f"], strict=True)
                )
                for row in answer.get("rows", [])
            ],
        )

    def _create(self, path: str, body: Mapping[str, Any]) -> None:
        self._request("POST", path, body, accepted=(200, 409))

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        accepted: tuple[int, ...] = (200, 204),
    ) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout_seconds)
        try:
            connection.request(
                method,
                f"/bigquery/v2/projects/{self._project}{path}",
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            text = response.read()
        except OSError as error:
            raise BigQueryError(
                f"no answer from the local BigQuery at {self._address}: {error}"
            ) from None
        finally:
            connection.close()
        answer = json.loads(text) if text else {}
        if response.status not in accepted:
            message = answer.get("error", {}).get("message") if isinstance(answer, dict) else None
            raise BigQueryError(message or f"{method} {path}: HTTP {response.status}")
        return answer


def _timestamp(value: str) -> datetime:
    # The emulator answers in microseconds whether asked to (useInt64Timestamp) or not.
    return _EPOCH + timedelta(microseconds=int(value))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "INTEGER": int,
    "INT64": int,
    "FLOAT": float,
    "FLOAT64": float,
    "BOOLEAN": lambda value: value in (True, "true", "TRUE"),
    "BOOL": lambda value: value in (True, "true", "TRUE"),
    "TIMESTAMP": _timestamp,
    "BYTES": base64.b64decode,
    "JSON": lambda value: json.loads(value) if isinstance(value, str) else value,
}


def _reader(field: Mapping[str, Any]) -> Callable[[Any], Any]:
    read = _READERS.get(field["type"], lambda value: value)
    if field.get("mode") == "REPEATED":
        return lambda cells: [read(cell["v"]) for cell in cells]
    return read
