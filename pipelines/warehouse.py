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

from pipelines import archive, tables
from pipelines.archive import ArchiveOptions, with_archive
from pipelines.launch import main
from pipelines.options import option
from pipelines.preflight import Need, Subscription, require
from pipelines.readers import pubsub_subscription, seconds
from pipelines.tables import TableOptions
from transforms.decode import DecodeTelemetry
from transforms.pubsubio import ReadFromPubSub


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Options of what comes from Pub/Sub."""

    input_subscription: str = option(
        "Pub/Sub subscription with telemetry.",
        parse=pubsub_subscription,
        example="projects/my-project/subscriptions/telemetry-warehouse",
    )
    start_timeout_seconds: float = option(
        "How long the subscriptions and the tables are waited for at the start before it fails.",
        parse=seconds(1, 3_600),
        example="60",
        default=60.0,
    )


@dataclass(frozen=True, kw_only=True)
class WarehouseOptions(ArchiveOptions, TableOptions, InputOptions):
    """Options of the warehouse pipeline: a dataclass has the fields of its last base first."""

    def __post_init__(self) -> None:
        self.check_tables_apart()
        self.check_apart(self.input_subscription)


def needs(options: WarehouseOptions) -> tuple[Need, ...]:
    """Returns subscription, tables and what the archive needs."""
    subscription = Subscription(name=options.input_subscription)
    return subscription, *tables.needs(options), *archive.needs(options)


def check(options: WarehouseOptions) -> None:
    """Looks for what it needs. Raises what ``require`` raises."""
    require(needs(options), timeout_seconds=options.start_timeout_seconds)


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
    tail = tables.append(decoded, options)
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
