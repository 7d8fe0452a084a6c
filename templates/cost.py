"""What a launch costs: dollars an hour for its workers, before anybody presses the button.

Prices are those of ``templates.capacity``, with their sources there. What depends on how much
flows (Streaming Engine, Pub/Sub, BigQuery) is for ``mqttbeam plan``.
"""

from __future__ import annotations

import dataclasses
import re

from templates.capacity import Machines, Prices, worker_dollars_per_hour
from templates.capacity.prices import READ, REGION

_USUAL_MACHINE = "n1-standard-2"
_STANDARD = re.compile(r"(n1|n2|n2d|e2|c3|t2d)-standard-([1-9][0-9]{0,2})")
_GB_PER_VCPU = {"n1": 3.75}
"""Of the family's standard machines; 4 where it isn't here.
https://cloud.google.com/compute/docs/machine-resource
"""


def cost_estimate(machine_type: str | None, maximum_workers: int | None) -> str:
    """Returns in one sentence what the workers cost, or why that isn't known.

    Without a machine type it is Dataflow's usual one for streaming.
    """
    machine = machine_type or _USUAL_MACHINE
    found = _STANDARD.fullmatch(machine)
    if found is None:
        return f"cost: not known for {machine}; only standard machines are reckoned here"
    vcpus = int(found[2])
    memory_gb = vcpus * _GB_PER_VCPU.get(found[1], 4.0)
    machines = dataclasses.replace(Machines(), worker_vcpus=vcpus, worker_memory_gb=memory_gb)
    dollars = worker_dollars_per_hour(machines, Prices())
    several = (
        "; --max-workers bounds how many"
        if maximum_workers is None
        else f", at most {maximum_workers}: ${dollars * maximum_workers:.2f} an hour"
    )
    return (
        f"cost: ${dollars:.3f} an hour for each {machine}{several} (list prices of {REGION}, read"
        f" {READ}; for what flows through see `mqttbeam plan`)"
    )
