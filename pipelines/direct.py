"""Direct: MQTT topics straight to a BigQuery table, without Pub/Sub in between.

    ReadFromMqtt -> DecodeMqtt -> AppendToBigQuery      (one fused stage: no shuffle in between)
                        |               |
                        +-- Rejected ---+-> dead-letter table

A device's message is acknowledged to the broker when BigQuery has its row, or its dead letter.
While BigQuery is away the broker keeps the messages, as long and as many as it is set to; what
others want to read, too, or to replay, goes through Pub/Sub (``pipelines.telemetry``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import apache_beam as beam

from pipelines import subscription, tables
from pipelines.launch import main
from pipelines.preflight import Need, require, secrets_of
from pipelines.subscription import SubscriptionOptions
from pipelines.tables import TableOptions
from transforms.decode import DecodeMqtt


@dataclass(frozen=True, kw_only=True)
class DirectOptions(TableOptions, SubscriptionOptions):
    """Options of the direct pipeline: a dataclass has the fields of its last base first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_tables_apart()


def needs(options: DirectOptions) -> tuple[Need, ...]:
    """Returns secrets, tables and broker."""
    secrets = secrets_of(options.broker_settings())
    return *secrets, *tables.needs(options), *subscription.needs(options)


def check(options: DirectOptions) -> None:
    """Looks for what it needs. Raises what ``require`` raises."""
    require(needs(options), timeout_seconds=options.start_timeout_seconds)
    subscription.tell_costs(options)


def build(pipeline: beam.Pipeline, options: DirectOptions) -> beam.PCollection:
    """Wires the pipeline and returns its end."""
    decoded = subscription.read(pipeline, options) | "Decode" >> DecodeMqtt(
        layout=options.layout, default_schema_id=options.default_schema
    )
    return tables.append(decoded, options)


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from pipelines import direct

    sys.exit(
        main(
            direct.DirectOptions,
            direct.build,
            direct.check,
            name="direct",
            about=direct.__doc__ or "",
            shards=lambda options: options.shards_before or options.shards,
        )
    )
