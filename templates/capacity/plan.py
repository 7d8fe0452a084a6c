"""The arithmetic: a `Fleet` to a `Plan`.

Telemetry. The bench's two cores carry one Python process and Prism beside it; a worker of two vCPUs
carries one SDK process (`--experiments=no_use_multiple_sdk_containers`, so that a shard has one
connection) and Dataflow's harness beside it. So a worker is planned with what the bench's machine
did, times the speed of a vCPU, times the share that may be used; and one worker runs one shard. A
shard is bound besides by what it may hold unacknowledged until Dataflow finalizes.

Commands. One SDK process a worker as well, and no shards: any worker publishes any command.

Warehouse. It keeps nothing under a client id, so a worker runs an SDK process a vCPU, and is
planned with CPU seconds. An SDK process has one AppendRows connection a table, and a connection
carries so many bytes at least.

Brokers. Enough for connections and for messages when one node is lost, and never fewer than three.
"""

import math
from dataclasses import dataclass

from templates.capacity.fleet import Fleet, Machines
from templates.capacity.measured import Measured
from templates.capacity.message import PUBSUB_REQUEST_BYTES, pubsub_bytes, row_bytes
from templates.capacity.prices import Prices, Quotas

SECONDS_A_MONTH = 30 * 86_400
HOURS_A_MONTH = 30 * 24
LEAST_BROKER_NODES = 3
COMMAND_LEGS = 4
"""A command is published and delivered, and so is its outcome."""
SMALL_REQUESTS_PER_SECOND = 200
"""A shard makes no more bundles a second at a steady load (p50 of 5 ms, bench/RESULTS.md, Latency),
and each publishes at least one request; below that every message is a request of its own."""
TABLES = 2
"""The warehouse appends to `telemetry` and to `dead_letters`."""
UNKNOWN = (
    "Dataflow itself: nothing here was measured on it. What a vCPU does, and how long it takes "
    "until a message is finalized, are assumptions until step 5 of docs/dataflow-checklist.md "
    "replaces them.",
    "Streaming Engine: counted is the data that the warehouse reads, at the price of the "
    "exactly-once mode. The templates' own mode, at least once, is billed by Streaming Engine "
    "compute units: their price, and how many a job uses, are not in here; step 6 shows them.",
    "Brokers: no price of a node is assumed; TLS, and all devices connecting anew at once, cost "
    "more than the figures for a node say; whether a cluster hands one shared subscription that "
    "many messages must be tried on it.",
    "Not in the sum: load balancers, traffic out of a region, logs, queries, the archive's "
    "storage, retained or unacknowledged messages, dead letters, discounts and tax.",
)
_MB = 1_000_000
_GIB = 1 << 30
_TIB = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of a quota the peak takes; `limit` and `used` in the same unit."""

    name: str
    used: float
    limit: float
    unit: str

    @property
    def share(self) -> float:
        """1.0 is all of it."""
        return self.used / self.limit

    @property
    def exceeded(self) -> bool:
        """Whether a higher quota must be asked for."""
        return self.used > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Dollars a month, by what is paid for; `brokers` is None where no price was given."""

    workers: float
    streaming_engine: float
    pubsub: float
    bigquery_writes: float
    bigquery_storage: float
    brokers: float | None

    @property
    def total(self) -> float:
        """The sum of what is known."""
        return (
            self.workers
            + self.streaming_engine
            + self.pubsub
            + self.bigquery_writes
            + self.bigquery_storage
            + (self.brokers or 0.0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fleet needs. `bound` names what decided the number of shards."""

    fleet: Fleet
    shard_messages_per_second: float
    bound: str
    shards: int
    telemetry_workers: int
    telemetry_jobs: int
    warehouse_workers: int
    append_connections: int
    command_workers: int
    broker_nodes: int
    broker_clusters: int
    message_bytes: int
    row_bytes: int
    pubsub_tib_month: float
    rows_tib_month: float
    stored_tib: float
    quotas: tuple[Use, ...]
    cost: Cost

    @property
    def workers(self) -> int:
        """Workers of all jobs."""
        return self.telemetry_workers + self.warehouse_workers + self.command_workers

    @property
    def jobs(self) -> int:
        """Dataflow jobs: telemetry, one for each cluster; warehouse; commands, likewise."""
        return self.telemetry_jobs + 1 + self.broker_clusters


def plan(
    fleet: Fleet,
    measured: Measured,
    *,
    machines: Machines | None = None,
    prices: Prices | None = None,
    quotas: Quotas | None = None,
) -> Plan:
    """Plan for the fleet's peak; bytes and dollars are of its mean."""
    machines, prices, quotas = machines or Machines(), prices or Prices(), quotas or Quotas()
    peak = fleet.peak_messages_per_second
    message, row = pubsub_bytes(fleet.payload_bytes), row_bytes(fleet.payload_bytes)
    nodes = _broker_nodes(fleet, machines)
    clusters = _ceil(nodes / machines.broker_cluster_nodes)
    rate, bound = _shard(measured, machines)
    # A shared subscription ends at its cluster, so that each has shards, and a job, of its own.
    shards = max(clusters, _ceil(peak / rate))
    telemetry = max(shards, _workers(peak, measured.telemetry_cpu_seconds, machines))
    commands = fleet.commands_per_second * fleet.peak_factor
    command_workers = max(
        clusters,
        _workers(commands, measured.commands_cpu_seconds, machines),
        _ceil(commands / _of(machines, measured.commands_messages_per_second)),
    )
    row_mb = peak * row / _MB
    processes = max(
        _workers(peak, measured.warehouse_cpu_seconds, machines) * machines.worker_vcpus,
        _ceil(row_mb / quotas.write_api_connection_mb_per_second),
    )
    warehouse = _ceil(processes / machines.worker_vcpus)
    connections = warehouse * machines.worker_vcpus * TABLES
    jobs = clusters + 1 + clusters
    published_mb, delivered_mb = peak * message / _MB, peak * message * fleet.subscriptions / _MB
    pubsub = _pubsub_bytes_a_month(fleet, message, shards)
    rows = fleet.messages_per_second * row * SECONDS_A_MONTH
    stored = fleet.messages_per_second * row * fleet.retention_days * 86_400
    return Plan(
        fleet=fleet,
        shard_messages_per_second=rate,
        bound=bound,
        shards=shards,
        telemetry_workers=telemetry,
        telemetry_jobs=clusters,
        warehouse_workers=warehouse,
        append_connections=connections,
        command_workers=command_workers,
        broker_nodes=nodes,
        broker_clusters=clusters,
        message_bytes=message,
        row_bytes=row,
        pubsub_tib_month=pubsub / _TIB,
        rows_tib_month=rows / _TIB,
        stored_tib=stored / _TIB,
        quotas=tuple(
            Use(name=name, used=used, limit=limit, unit=unit)
            for name, used, limit, unit in (
                ("Pub/Sub publish", published_mb, quotas.pubsub_publish_mb_per_second, "MB/s"),
                ("Pub/Sub delivery", delivered_mb, quotas.pubsub_deliver_mb_per_second, "MB/s"),
                ("Storage Write throughput", row_mb, quotas.write_api_mb_per_second, "MB/s"),
                ("Storage Write connections", connections, quotas.write_api_connections, ""),
                (
                    "workers of the largest job",
                    max(_ceil(telemetry / clusters), warehouse),
                    quotas.dataflow_workers,
                    "",
                ),
                ("Dataflow jobs", jobs, quotas.dataflow_jobs, ""),
            )
        ),
        cost=_cost(
            telemetry + warehouse + command_workers,
            nodes,
            pubsub=pubsub,
            rows=rows,
            stored=stored,
            delivered=fleet.messages_per_second * message * SECONDS_A_MONTH,
            machines=machines,
            prices=prices,
        ),
    )


def worker_dollars_per_hour(machines: Machines, prices: Prices) -> float:
    """What Dataflow takes for one streaming worker, without Streaming Engine."""
    return (
        machines.worker_vcpus * prices.dataflow_vcpu_hour
        + machines.worker_memory_gb * prices.dataflow_memory_gb_hour
        + machines.worker_disk_gb * prices.dataflow_disk_gb_hour
    )


def _shard(measured: Measured, machines: Machines) -> tuple[float, str]:
    """Messages a second of one shard, and what bounds it."""
    processor = _of(machines, measured.telemetry_messages_per_second)
    unacknowledged = machines.receive_maximum / machines.ack_seconds * machines.used
    if unacknowledged < processor:
        return unacknowledged, "receive maximum"
    return processor, "processor"


def _of(machines: Machines, messages_per_second: float) -> float:
    """What one worker is planned with, of what the bench's machine did."""
    return messages_per_second * machines.vcpu_speed * machines.used


def _workers(messages_per_second: float, cpu_seconds: float, machines: Machines) -> int:
    """Workers for the CPU seconds that so many messages cost; at least one."""
    vcpus = messages_per_second * cpu_seconds / 10_000 / machines.vcpu_speed / machines.used
    return max(1, _ceil(vcpus / machines.worker_vcpus))


def _broker_nodes(fleet: Fleet, machines: Machines) -> int:
    commands = fleet.commands_per_second * fleet.peak_factor
    messages = fleet.peak_messages_per_second + commands
    needed = max(
        fleet.devices / (machines.broker_connections * machines.used),
        messages / (machines.broker_messages_per_second * machines.used),
    )
    return max(LEAST_BROKER_NODES, _ceil(needed) + 1)


def _pubsub_bytes_a_month(fleet: Fleet, message: int, shards: int) -> float:
    """What Pub/Sub counts: published once, delivered to each subscription, and the commands."""
    together = fleet.messages_per_second / shards / SMALL_REQUESTS_PER_SECOND
    counted = max(message, PUBSUB_REQUEST_BYTES / max(1.0, together))
    telemetry = fleet.messages_per_second * counted * (1 + fleet.subscriptions)
    command = max(message, PUBSUB_REQUEST_BYTES)
    return (telemetry + fleet.commands_per_second * COMMAND_LEGS * command) * SECONDS_A_MONTH


def _cost(
    workers: int,
    nodes: int,
    *,
    pubsub: float,
    rows: float,
    stored: float,
    delivered: float,
    machines: Machines,
    prices: Prices,
) -> Cost:
    hour = worker_dollars_per_hour(machines, prices)
    return Cost(
        workers=workers * hour * HOURS_A_MONTH,
        # What the warehouse reads comes through Streaming Engine; telemetry's stage is fused and
        # its marks hold no bytes.
        streaming_engine=delivered / 1e9 * prices.streaming_engine_gb,
        pubsub=max(0.0, pubsub / _TIB - prices.pubsub_free_gib / 1024) * prices.pubsub_tib,
        bigquery_writes=max(0.0, rows / _GIB - prices.write_api_free_tib * 1024)
        * prices.write_api_gib,
        bigquery_storage=stored / _GIB * prices.bigquery_gib_month,
        brokers=None if prices.broker_node_month is None else nodes * prices.broker_node_month,
    )


def _ceil(value: float) -> int:
    """Upwards, where a hair of binary rounding is no machine."""
    return math.ceil(value - 1e-9)
