"""Prices and quotas: each with its source and the day on which it was read.

They change, and discounts are yours: every field can be replaced. What was read are stored copies
of the pages, so where a copy is known to be older, or to be somebody's quotation, the source says
so. `READ` is the day of the reading. Dollars of the United States, without tax, list prices.
"""

from dataclasses import dataclass

from templates.capacity.fleet import NOT_NEGATIVE, POSITIVE, assumed, check_fields

READ = "2026-11-23"
REGION = "us-central1"

_BEAM = (
    "[Dataflow pricing](https://cloud.google.com/dataflow/pricing), as Beam 2.77's own cost "
    "benchmark has it (`apache_beam.testing.load_tests.dataflow_cost_consts`)"
)
_PUBSUB = "[Pub/Sub pricing](https://cloud.google.com/pubsub/pricing), copy of 2026-09-20"
_BIGQUERY = "[BigQuery pricing](https://cloud.google.com/bigquery/pricing), US multi-region"
_PUBSUB_QUOTA = (
    "[Pub/Sub quotas](https://cloud.google.com/pubsub/quotas), large regions, an undated copy, "
    "perhaps lower than today's"
)
_WRITE_QUOTA = (
    "[BigQuery quotas](https://cloud.google.com/bigquery/quotas#write-api-limits), a region; "
    "as others quote it"
)
_DATAFLOW_QUOTA = "[Dataflow quotas](https://cloud.google.com/dataflow/quotas)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars for what is used. Raises InvalidAssumption."""

    dataflow_vcpu_hour: float = assumed(
        0.069, NOT_NEGATIVE, "Dataflow streaming, a vCPU for an hour", _BEAM
    )
    dataflow_memory_gb_hour: float = assumed(
        0.0035557, NOT_NEGATIVE, "Dataflow streaming, a GB of memory for an hour", _BEAM
    )
    dataflow_disk_gb_hour: float = assumed(
        0.000054, NOT_NEGATIVE, "Dataflow, a GB of disk for an hour", _BEAM
    )
    streaming_engine_gb: float = assumed(
        0.018, NOT_NEGATIVE, "Streaming Engine, a GB of data processed", _BEAM
    )
    pubsub_tib: float = assumed(
        40.0, NOT_NEGATIVE, "Pub/Sub, a TiB published or delivered", _PUBSUB
    )
    pubsub_free_gib: float = assumed(10.0, NOT_NEGATIVE, "Pub/Sub, GiB a month for free", _PUBSUB)
    write_api_gib: float = assumed(
        0.025, NOT_NEGATIVE, "BigQuery Storage Write API, a GiB", f"{_BIGQUERY}, as others quote it"
    )
    write_api_free_tib: float = assumed(
        2.0,
        NOT_NEGATIVE,
        "BigQuery Storage Write API, TiB a month for free",
        f"{_BIGQUERY}, as others quote it",
    )
    bigquery_gib_month: float = assumed(
        0.02, NOT_NEGATIVE, "BigQuery active logical storage, a GiB for a month", _BIGQUERY
    )
    broker_node_month: float | None = assumed(
        None,
        NOT_NEGATIVE,
        "a broker node with its disk, for a month",
        "not known: your machines; not in the sum until you give it",
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What a project may use before it asks for more. Raises InvalidAssumption."""

    pubsub_publish_mb_per_second: float = assumed(
        200.0,
        POSITIVE,
        "Pub/Sub, MB a second published in a region (small regions: 50)",
        _PUBSUB_QUOTA,
    )
    pubsub_deliver_mb_per_second: float = assumed(
        400.0,
        POSITIVE,
        "Pub/Sub, MB a second delivered by pull in a region",
        f"{_PUBSUB_QUOTA}; as others quote it",
    )
    write_api_mb_per_second: float = assumed(
        300.0,
        POSITIVE,
        "BigQuery Storage Write API, MB a second (US and EU multi-region: 3,000)",
        _WRITE_QUOTA,
    )
    write_api_connections: float = assumed(
        1_000,
        POSITIVE,
        "BigQuery Storage Write API, connections (US and EU multi-region: 10,000)",
        _WRITE_QUOTA,
    )
    write_api_connection_mb_per_second: float = assumed(
        1.0,
        POSITIVE,
        "one AppendRows connection, MB a second at least (it can exceed 10)",
        "[Storage Write API best practices]"
        "(https://cloud.google.com/bigquery/docs/write-api-best-practices)",
    )
    dataflow_workers: float = assumed(
        1_000,
        POSITIVE,
        "workers of a flex template's job",
        "`maxWorkers` of the launch request is 1 to 1,000 "
        "(`google.cloud.dataflow_v1beta3.types.FlexTemplateRuntimeEnvironment`); with Streaming "
        f"Engine the service itself takes 4,000 ({_DATAFLOW_QUOTA})",
    )
    dataflow_jobs: float = assumed(
        25, POSITIVE, "Dataflow jobs of a project at once", _DATAFLOW_QUOTA
    )

    def __post_init__(self) -> None:
        check_fields(self)
