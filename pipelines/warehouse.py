"""Warehouse: telemetry from a Pub/Sub subscription to a BigQuery table.

    ReadFromPubSub -> DecodeTelemetry -> AppendToBigQuery
                            |                  |
                            +--- Rejected -----+-> dead-letter table

A message is acknowledged to Pub/Sub when its row, or its dead letter, is in its table.

With --archive_folder it archives all telemetry as well, from a subscription of its own
(``pipelines.archive``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import apache_beam as beam

from pipelines import archive, preflight
from pipelines.archive import ArchiveOptions, with_archive
from pipelines.launch import main
from pipelines.options import OptionError, option
from pipelines.readers import bigquery_table, folder, pubsub_subscription, schema_id, seconds
from schemas.tables import DEAD_LETTERS, TELEMETRY
from transforms.bigquery import AppendToBigQuery, check_table
from transforms.dead_letter import RejectedToRows, fail_unwritten
from transforms.decode import DecodeTelemetry
from transforms.pubsubio import ReadFromPubSub


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of what goes to BigQuery."""

    input_subscription: str = option(
        "Pub/Sub subscription with telemetry.",
        parse=pubsub_subscription,
        example="projects/my-project/subscriptions/telemetry-warehouse",
    )
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
    start_timeout_seconds: float = option(
        "How long the subscriptions and the tables are waited for at the start before it fails.",
        parse=seconds(1, 3_600),
        example="60",
        default=60.0,
    )

    def __post_init__(self) -> None:
        if self.dead_letters() == self.output_table:
            raise OptionError("--dead_letter_table and --output_table must be two tables")

    def dead_letters(self) -> str:
        """The dead-letter table."""
        return self.dead_letter_table or f"{self.output_table.rpartition('.')[0]}.dead_letters"


@dataclass(frozen=True, kw_only=True)
class WarehouseOptions(ArchiveOptions, TableOptions):
    """Options of the warehouse pipeline: a dataclass has the fields of its last base first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_apart(self.input_subscription)


def check(options: WarehouseOptions) -> None:
    """Checks subscription and tables. Raises their errors."""
    timeout = options.start_timeout_seconds
    preflight.check_subscription(options.input_subscription, timeout_seconds=timeout)
    check_table(options.output_table, TELEMETRY, timeout_seconds=timeout)
    check_table(options.dead_letters(), DEAD_LETTERS, timeout_seconds=timeout)
    archive.check(options, timeout_seconds=timeout)


def build(pipeline: beam.Pipeline, options: WarehouseOptions) -> beam.PCollection:
    """Wires the pipeline and returns its end."""
    decoded = (
        pipeline
        | "ReadFromPubSub" >> ReadFromPubSub(options.input_subscription, lists=True)
        | "Decode"
        >> DecodeTelemetry(
            origin=options.input_subscription, default_schema_id=options.default_schema
        )
    )
    refused = decoded.rows | "AppendTelemetry" >> AppendToBigQuery(options.output_table, TELEMETRY)
    # Each branch has a sink of its own: flattened, they would leave the read's fused stage.
    for name, rejected in (("Undecoded", decoded.rejected), ("Refused", refused)):
        tail = (
            rejected
            | f"{name}ToRow" >> RejectedToRows(blob_folder=options.dead_letter_blob_folder)
            | f"Append{name}" >> AppendToBigQuery(options.dead_letters(), DEAD_LETTERS)
            | f"Fail{name}" >> beam.Map(fail_unwritten)
        )
    return with_archive(tail, options, default_schema=options.default_schema)


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from pipelines import warehouse

    sys.exit(
        main(
            warehouse.WarehouseOptions,
            warehouse.build,
            warehouse.check,
            name="warehouse",
            about=warehouse.__doc__ or "",
        )
    )
