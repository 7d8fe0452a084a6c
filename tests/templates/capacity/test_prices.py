"""Prices and limits are those of what is installed, as far as it knows them."""

import importlib
from dataclasses import fields

import pytest
from google.cloud import dataflow_v1beta3

from templates.capacity import Fleet, Machines, Measured, Prices, Quotas


@pytest.mark.parametrize(
    ("ours", "beams"),
    [
        ("dataflow_vcpu_hour", "VCPU_PER_HR_STREAMING"),
        ("dataflow_memory_gb_hour", "MEM_PER_GB_HR_STREAMING"),
        ("dataflow_disk_gb_hour", "PD_PER_GB_HR"),
        ("streaming_engine_gb", "SHUFFLE_PER_GB_STREAMING"),
    ],
)
def test_dataflow_costs_what_beams_own_benchmark_says(ours: str, beams: str) -> None:
    costs = importlib.import_module("apache_beam.testing.load_tests.dataflow_cost_consts")
    assert getattr(Prices(), ours) == getattr(costs, beams)


def test_a_job_has_the_workers_that_a_launch_request_can_ask_for() -> None:
    told = dataflow_v1beta3.FlexTemplateRuntimeEnvironment.__doc__ or ""
    limit = " ".join(told.partition("max_workers (int):")[2].split())
    assert f"from 1 to {Quotas().dataflow_workers}." in limit[:160]


def test_every_figure_says_what_it_is_and_where_it_comes_from() -> None:
    for kind in (Fleet, Machines, Measured, Prices, Quotas):
        for item in fields(kind):
            assert item.metadata["about"], item.name
            assert item.metadata["source"], item.name
