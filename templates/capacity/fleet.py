"""What is asked of the system, and what is assumed of the machines under it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from templates.capacity.errors import InvalidAssumption

_Check = tuple[Callable[[float], bool], str]

_LEAST, _MOST = 1e-9, 1e12
_DEVICES = 1_000_000_000
MOST_PAYLOAD_BYTES = 10_000_000
"""What Pub/Sub takes as the data of a message, as `transforms.pubsubio` holds it."""
MOST_SUBSCRIPTIONS = 10_000
"""Of a topic (https://cloud.google.com/pubsub/quotas#resource_limits)."""
_MINUTES_A_DAY = 1_440
_SECONDS_A_DAY = 86_400


def between(low: float, high: float) -> _Check:
    """A check for numbers from `low` to `high`; no comparison with NaN holds."""
    return (lambda value: low <= value <= high, f"a number from {low:,} to {high:,}")


# Far from the ends of a float on both sides: no product or quotient of a plan leaves it.
POSITIVE: _Check = (
    lambda value: _LEAST <= value <= _MOST,
    "a number above 0, from 1e-9 to 1e12",
)
NOT_NEGATIVE: _Check = (lambda value: 0 <= value <= _MOST, "a number from 0 to 1e12")
AT_LEAST_ONE = between(1, 1_000_000_000)
SHARE: _Check = (lambda value: 0 <= value < 1, "a share from 0 to below 1")
SPEED: _Check = (lambda value: 0.001 <= value <= 10, "a number above 0, from 0.001 to 10")


def assumed(default: Any, check: _Check, about: str, source: str) -> Any:
    """A field with what it means, its unit in it, and where its default comes from."""
    return field(default=default, metadata={"check": check, "about": about, "source": source})


def required(check: _Check, about: str, source: str = "given") -> Any:
    """A field without a default, with what it means."""
    return field(metadata={"check": check, "about": about, "source": source})


def check_fields(checked: Any) -> None:
    """Hold the fields that `assumed` made to their ranges. Raises InvalidAssumption."""
    for item in fields(checked):
        metadata: Mapping[str, Any] = item.metadata
        value = getattr(checked, item.name)
        if value is None or "check" not in metadata:
            continue
        holds, expected = metadata["check"]
        if not holds(value):
            raise InvalidAssumption(item.name, value, expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The load: means over a day, with the factor to its busiest minute.

    Raises InvalidAssumption.
    """

    devices: int = required(between(1, _DEVICES), "devices connected at once")
    messages_per_second: float = required(POSITIVE, "messages a second of all devices, mean")
    payload_bytes: int = assumed(
        200,
        between(0, MOST_PAYLOAD_BYTES),
        "payload of a message, bytes",
        "the bench's payload",
    )
    # All of a day's messages in one minute.
    peak_factor: float = assumed(
        2.0,
        between(1, _MINUTES_A_DAY),
        "busiest minute to mean",
        "assumption: no fleet was measured",
    )
    commands_per_device_per_day: float = assumed(
        1.0,
        between(0, _SECONDS_A_DAY),
        "commands to a device a day",
        "assumption: no fleet was measured",
    )
    retention_days: float = assumed(
        90.0, between(0, 36_500), "days that rows are kept in BigQuery", "assumption: your choice"
    )
    subscriptions: int = assumed(
        1,
        between(1, MOST_SUBSCRIPTIONS),
        "subscriptions of the telemetry topic",
        "1: the warehouse",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def peak_messages_per_second(self) -> float:
        """Messages in the busiest second that is planned for."""
        return self.messages_per_second * self.peak_factor

    @property
    def commands_per_second(self) -> float:
        """Commands, mean."""
        return self.devices * self.commands_per_device_per_day / _SECONDS_A_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What one worker and one broker node are assumed to carry. Raises InvalidAssumption."""

    headroom: float = assumed(
        0.3, SHARE, "share of every machine that is left free at the peak", "assumption"
    )
    vcpu_speed: float = assumed(
        0.5,
        SPEED,
        "a worker's vCPU to a core of the bench's machine",
        "assumption: step 5 of the Dataflow check-list measures it",
    )
    worker_vcpus: int = assumed(
        2,
        AT_LEAST_ONE,
        "vCPUs of a worker",
        "n1-standard-2, which "
        "[Use Streaming Engine](https://cloud.google.com/dataflow/docs/streaming-engine) names",
    )
    worker_memory_gb: float = assumed(7.5, POSITIVE, "memory of a worker, GB", "n1-standard-2")
    worker_disk_gb: float = assumed(
        30.0, POSITIVE, "disk of a worker, GB", "assumption: the boot disk with Streaming Engine"
    )
    receive_maximum: int = assumed(
        30_000, AT_LEAST_ONE, "unacknowledged messages of a shard", "our `--receive_maximum`"
    )
    ack_seconds: float = assumed(
        1.0,
        POSITIVE,
        "seconds from receipt to PUBACK on Dataflow",
        "assumption: step 5 of the Dataflow check-list measures it",
    )
    broker_connections: int = assumed(
        200_000,
        AT_LEAST_ONE,
        "connections of a broker node",
        "[EMQ 0.5.4 on 8 cores, 32 GB](https://github.com/emqx/emqx/releases/tag/0.5.4-alpha), "
        "which used 7 GB and 40 % of its cores",
    )
    broker_messages_per_second: float = assumed(
        30_000, POSITIVE, "messages a second that a broker node takes in", "the same test"
    )
    broker_cluster_nodes: int = assumed(
        23,
        AT_LEAST_ONE,
        "nodes of a broker cluster",
        "the largest that was shown: EMQX 5.0 with 100 million connections on 23 nodes "
        "([EMQX's documentation]"
        "(https://docs.emqx.com/en/emqx/latest/deploy/cluster/mria-introduction.html), "
        "nodes by its blog)",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def used(self) -> float:
        """The share of a machine that is planned with."""
        return 1.0 - self.headroom
