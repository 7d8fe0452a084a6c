"""What a launch costs is said before anybody is asked."""

from __future__ import annotations

import pytest

from templates.capacity import Machines, Prices, worker_dollars_per_hour
from templates.cost import cost_estimate


def test_the_usual_machine_is_that_of_the_plan() -> None:
    dollars = worker_dollars_per_hour(Machines(), Prices())
    words = cost_estimate(None, 10)
    assert words.startswith(f"cost: ${dollars:.3f} an hour for each n1-standard-2")
    assert f"at most 10: ${dollars * 10:.2f} an hour" in words
    assert "read 20" in words


def test_a_larger_machine_costs_what_its_cpus_and_memory_cost() -> None:
    prices = Prices()
    disk = Machines().worker_disk_gb * prices.dataflow_disk_gb_hour
    dollars = 4 * prices.dataflow_vcpu_hour + 16 * prices.dataflow_memory_gb_hour + disk
    assert cost_estimate("n2-standard-4", 1).startswith(f"cost: ${dollars:.3f} an hour")


def test_without_a_bound_it_is_dataflow_s_own() -> None:
    dollars = worker_dollars_per_hour(Machines(), Prices())
    words = cost_estimate("n1-standard-2", None)
    assert "at most 100 (Dataflow's own bound; --max-workers sets another)" in words
    assert f": ${dollars * 100:.2f} an hour" in words


@pytest.mark.parametrize("machine", ["m3-ultramem-32", "n1-standard", "custom-2-4096"])
def test_a_machine_that_isn_t_known_is_not_guessed(machine: str) -> None:
    assert cost_estimate(machine, 3) == (
        f"cost: not known for {machine}; only standard machines are reckoned here"
    )
