"""The BigQuery tables and views, read from `schemas/bigquery`.

A file there is a schema as the `bq` command takes it. Tables are flat, with a JSON column
for what varies: a new reading needs no new column.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

FieldType = Literal[
    "STRING",
    "BYTES",
    "INT64",
    "FLOAT64",
    "BOOL",
    "TIMESTAMP",
    "DATE",
    "TIME",
    "DATETIME",
    "NUMERIC",
    "BIGNUMERIC",
    "JSON",
    "GEOGRAPHY",
]
Mode = Literal["REQUIRED", "NULLABLE", "REPEATED"]

# The older names that `bq show` still prints.
_TYPE_ALIASES: Mapping[str, FieldType] = {
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column."""

    name: str
    type: FieldType
    mode: Mode = "NULLABLE"
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's columns, the column it is partitioned by (by day) and those it clusters on.

    `schema_file` is where the columns stand in the form that `bq mk` reads.
    """

    name: str
    fields: tuple[Field, ...]
    schema_file: str
    partitioned_by: str | None = None
    clustered_by: tuple[str, ...] = ()

    def create_command(self, project: str, dataset: str, table: str | None = None) -> str:
        """Return the command that creates the table in Google's BigQuery."""
        words = ["bq mk --table"]
        if self.partitioned_by:
            words.append(f"--time_partitioning_field={self.partitioned_by}")
        if self.clustered_by:
            words.append(f"--clustering_fields={','.join(self.clustered_by)}")
        return " ".join([*words, f"{project}:{dataset}.{table or self.name}", self.schema_file])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view: `query` has `{dataset}` where the dataset's full name goes."""

    name: str
    query: str


def field_from_json(record: Mapping[str, object]) -> Field:
    """Read a column as `bq` and BigQuery's REST write it; raises ValueError."""
    name, mode = str(record["name"]), str(record.get("mode", "NULLABLE"))
    given = str(record["type"]).upper()
    kind = _TYPE_ALIASES.get(given, given)
    if kind not in FieldType.__args__:  # type: ignore[attr-defined]  # a Literal's values
        raise ValueError(f"column {name} is of type {given}: flat columns are needed")
    if mode not in Mode.__args__:  # type: ignore[attr-defined]  # a Literal's values
        raise ValueError(f"column {name} has mode {mode!r}")
    return Field(
        name=name,
        type=kind,  # type: ignore[arg-type]  # checked above
        mode=mode,  # type: ignore[arg-type]  # checked above
        description=str(record.get("description", "")),
    )


@cache
def _fields(file: str) -> tuple[Field, ...]:
    text = (resources.files("schemas") / "bigquery" / file).read_text(encoding="utf-8")
    return tuple(field_from_json(record) for record in json.loads(text))


# Partitioned by the time we gave it: a device's clock may be years off, and BigQuery
# refuses streamed rows for partitions that far away.
TELEMETRY = Table(
    name="telemetry",
    fields=_fields("telemetry.v1.json"),
    schema_file="schemas/bigquery/telemetry.v1.json",
    partitioned_by="received_time",
    clustered_by=("device_id", "stream"),
)
DEAD_LETTERS = Table(
    name="dead_letters",
    fields=_fields("dead_letters.v1.json"),
    schema_file="schemas/bigquery/dead_letters.v1.json",
    partitioned_by="rejected_time",
    clustered_by=("stage", "origin"),
)
TABLES = (TELEMETRY, DEAD_LETTERS)

# A device speaks for itself only: another one's use of the same id hides nothing.
TELEMETRY_DISTINCT = View(
    name="telemetry_distinct",
    query="""\
SELECT * EXCEPT (copy) FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY device_id, message_id ORDER BY processed_time
  ) AS copy
  FROM `{dataset}.telemetry`
)
WHERE copy = 1 OR NOT deduplicable""",
)
VIEWS = (TELEMETRY_DISTINCT,)
