"""What a launch costs: dollars an hour for its workers, before anybody presses the button.

Prices are those of ``templates.capacity``, with their sources there. What depends on how much
flows (Streaming Engine, Pub/Sub, BigQuery) is for ``mqttbeam plan``.
"""

from __future__ import annotations

import dataclasses

from templates.capacity import Machines, Prices, worker_dollars_per_hour
from templates.capacity.prices import READ, REGION
from templates.machines import size_of

_USUAL_MACHINE = "n1-standard-2"
MOST_STREAMING_WORKERS = 100
"""Where autoscaling ends unless it is told: of a streaming job with Streaming Engine.
https://cloud.google.com/dataflow/docs/horizontal-autoscaling
"""


def cost_estimate(machine_type: str | None, maximum_workers: int | None) -> str:
    """Returns in one sentence what the workers cost, or why that isn't known.

    Without a machine type it is Dataflow's usual one for streaming, without a maximum Dataflow's.
    """
    machine = _USUAL_MACHINE if machine_type is None else machine_type
    size = size_of(machine)
    if size is None:
        return f"cost: not known for {machine}; only standard machines are reckoned here"
    machines = dataclasses.replace(
        Machines(), worker_vcpus=size.vcpus, worker_memory_gb=size.memory_gb
    )
    dollars = worker_dollars_per_hour(machines, Prices())
    most = MOST_STREAMING_WORKERS if maximum_workers is None else maximum_workers
    whose = " (Dataflow's own bound; --max-workers sets another)" if maximum_workers is None else ""
    return (
        f"cost: ${dollars:.3f} an hour for each {machine}, at most {most}{whose}:"
        f" ${dollars * most:.2f} an hour (list prices of {REGION}, read {READ}; for what flows"
        " through see `mqttbeam plan`)"
    )
