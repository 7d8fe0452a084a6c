from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.held_back import HeldBack, finalizes_early


def test_what_a_checkpoint_finalizes_waits_for_a_bundle_that_was_recorded_later() -> None:
    held = HeldBack[str]()
    first, second = held.now(), held.now()
    assert held.finalized(["a"], made_at=first) == []
    assert held.finalized(["b"], made_at=second) == []
    third = held.now()
    assert held.finalized(["c"], made_at=third) == ["a", "b"]


def test_a_bundle_that_was_under_way_at_a_finalization_releases_nothing() -> None:
    held = HeldBack[str]()
    first, under_way = held.now(), held.now()
    held.finalized(["a"], made_at=first)
    # Recorded before "a" was final: the checkpoint that tells of it may be the one of "a".
    assert held.finalized(["b"], made_at=under_way) == []


def test_an_empty_bundle_releases_what_came_before() -> None:
    held = HeldBack[str]()
    held.finalized(["a"], made_at=held.now())
    assert held.finalized([], made_at=held.now()) == ["a"]
    assert held.finalized([], made_at=held.now()) == []


@pytest.mark.parametrize(
    ("runner", "early"),
    [
        ("FlinkRunner", True),
        ("PortableRunner", True),
        ("DirectRunner", False),
        ("PrismRunner", False),
        ("DataflowRunner", False),
    ],
)
def test_runners_behind_a_job_server_finalize_early(runner: str, early: bool) -> None:
    assert finalizes_early(PipelineOptions([f"--runner={runner}"])) is early
