"""BigQuery's load job of Avro files, asked for by Google's own client."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

_TYPES = {"boolean": "BOOLEAN", "bytes": "BYTES", "string": "STRING"}


def columns_of(schema: Mapping[str, Any]) -> list[bigquery.SchemaField]:
    """Returns the columns that BigQuery makes of an Avro schema when it loads with
    ``useAvroLogicalTypes``, as far as the archive's schema goes; the emulator wants to be told.

    https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-avro#avro_conversions
    """
    return [_column(field["name"], field["type"]) for field in schema["fields"]]


def load(address: str, table: str, files: Iterable[Path], schema: Mapping[str, Any]) -> None:
    """Uploads the files, each by a load job that appends to the table; raises what Google's
    client does for a job that failed.
    """
    # The client sends uploads to the address in the variable, and to no other.
    with mock.patch.dict(os.environ, {"BIGQUERY_EMULATOR_HOST": f"http://{address}"}):
        client = bigquery.Client(project="local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]  # of google-auth
    with client:
        for path in files:
            config = bigquery.LoadJobConfig(
                source_format=bigquery.SourceFormat.AVRO,
                use_avro_logical_types=True,
                schema=columns_of(schema),
            )
            with path.open("rb") as file:
                job = client.load_table_from_file(file, f"local.{table}", job_config=config)
            try:
                job.result(timeout=60)
            finally:
                client.delete_job_metadata(job)


def _column(name: str, kind: Any) -> bigquery.SchemaField:
    mode = "REQUIRED"
    if isinstance(kind, list):
        null, kind = kind
        assert null == "null", f"{name}: BigQuery has no union but that with null"
        mode = "NULLABLE"
    if isinstance(kind, str):
        return bigquery.SchemaField(name, _TYPES[kind], mode)
    if kind["type"] == "map":
        key, value = (bigquery.SchemaField(part, "STRING", "REQUIRED") for part in ("key", "value"))
        assert kind["values"] == "string"
        return bigquery.SchemaField(name, "RECORD", "REPEATED", fields=[key, value])
    if (kind["type"], kind.get("logicalType")) == ("long", "timestamp-micros"):
        return bigquery.SchemaField(name, "TIMESTAMP", mode)
    assert (kind["type"], kind.get("sqlType")) == ("string", "JSON"), f"{name}: {kind}"
    return bigquery.SchemaField(name, "JSON", mode)
