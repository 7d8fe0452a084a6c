"""The BigQuery tables, as a part of a pipeline: their options, their check at the start, the sinks.

DecodedTelemetry -> AppendToBigQuery -> output table
       |                  |
       +---- Rejected ----+-> dead-letter table
"""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam

from pipelines.options import OptionError, option
from pipelines.preflight import Folder, Need, Table
from pipelines.readers import bigquery_table, folder, schema_id
from schemas.tables import DEAD_LETTERS, TELEMETRY
from transforms.bigquery import AppendToBigQuery
from transforms.dead_letter import RejectedToRows, fail_unwritten
from transforms.decode import DecodedTelemetry


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of what goes to BigQuery."""

    output_table: str = option(
        "BigQuery table for telemetry, with the columns of schemas/bigquery/telemetry.v1.json.",
        parse=bigquery_table,
        example="my-project:iot.telemetry",
    )
    dead_letter_table: str | None = option(
        "BigQuery table for what can't be decoded or appended; without it, dead_letters beside"
        " the output table.",
        parse=bigquery_table,
        example="my-project:iot.dead_letters",
        default=None,
    )
    dead_letter_blob_folder: str | None = option(
        "Folder, gs:// or local, for dead letters that are too large for a row; without it the"
        " first 4 KiB of such a message are kept.",
        parse=folder,
        example="gs://my-bucket/dead-letters",
        default=None,
    )
    default_schema: str | None = option(
        "Schema of messages that name none; without it their payload may be any JSON object.",
        parse=schema_id,
        example="reading.v1",
        default=None,
    )

    def dead_letters(self) -> str:
        """The dead-letter table."""
        return self.dead_letter_table or f"{self.output_table.rpartition('.')[0]}.dead_letters"

    def check_tables_apart(self) -> None:
        """Raises OptionError where both tables are one."""
        if self.dead_letters() == self.output_table:
            raise OptionError("--dead_letter_table and --output_table must be two tables")


def needs(options: TableOptions) -> tuple[Need, ...]:
    """Returns both tables, and the folder of large dead letters."""
    tables: tuple[Need, ...] = (
        Table(name=options.output_table, definition=TELEMETRY),
        Table(name=options.dead_letters(), definition=DEAD_LETTERS),
    )
    folder = options.dead_letter_blob_folder
    return tables if folder is None else (*tables, Folder(name=folder, tried=False))


def append(decoded: DecodedTelemetry, options: TableOptions) -> beam.PCollection:
    """Wires the sinks behind what was decoded; returns their end."""
    refused = decoded.rows | "AppendTelemetry" >> AppendToBigQuery(options.output_table, TELEMETRY)
    # Each branch has a sink of its own: flattened, they would leave the read's fused stage.
    for name, rejected in (("Undecoded", decoded.rejected), ("Refused", refused)):
        tail = (
            rejected
            | f"{name}ToRow" >> RejectedToRows(blob_folder=options.dead_letter_blob_folder)
            | f"Append{name}" >> AppendToBigQuery(options.dead_letters(), DEAD_LETTERS)
            | f"Fail{name}" >> beam.Map(fail_unwritten)
        )
    return tail
