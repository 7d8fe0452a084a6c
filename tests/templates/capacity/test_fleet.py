"""What no fleet or machine can have is refused, by its name."""

import math
import re
from typing import Any

import pytest

from templates.capacity import Fleet, InvalidAssumption, Machines, Prices, Quotas
from transforms.pubsubio.limits import MAXIMUM_DATA_BYTES


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Fleet, "devices", 0),
        (Fleet, "messages_per_second", 0),
        (Fleet, "messages_per_second", math.nan),
        (Fleet, "messages_per_second", math.inf),
        (Fleet, "payload_bytes", -1),
        (Fleet, "peak_factor", 0.9),
        (Fleet, "commands_per_device_per_day", -1),
        (Fleet, "retention_days", -1),
        (Fleet, "subscriptions", 0),
        (Fleet, "devices", 10**400),
        (Fleet, "messages_per_second", 1e300),
        (Fleet, "payload_bytes", MAXIMUM_DATA_BYTES + 1),
        (Fleet, "peak_factor", 1441),
        (Fleet, "retention_days", 1e308),
        (Machines, "headroom", 1.0),
        (Machines, "headroom", -0.1),
        (Machines, "vcpu_speed", 0),
        (Machines, "vcpu_speed", 11),
        (Machines, "ack_seconds", 0),
        (Machines, "ack_seconds", 1e-320),
        (Prices, "pubsub_tib", -1),
        (Quotas, "dataflow_jobs", 0),
    ],
)
def test_a_value_out_of_range_is_named(kind: Any, name: str, value: float) -> None:
    values = {"devices": 1, "messages_per_second": 1} if kind is Fleet else {}
    with pytest.raises(InvalidAssumption, match=re.escape(f"{name} is {value}: ex")) as refused:
        kind(**{**values, name: value})
    assert refused.value.name == name


def test_an_empty_payload_and_a_year_of_nothing_kept_are_fleets() -> None:
    Fleet(devices=1, messages_per_second=0.001, payload_bytes=0, retention_days=0)


def test_the_largest_payload_is_what_the_pipelines_give_to_pubsub() -> None:
    Fleet(devices=1, messages_per_second=1, payload_bytes=MAXIMUM_DATA_BYTES)
