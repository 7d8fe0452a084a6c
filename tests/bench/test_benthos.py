from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bench.peers.benthos import config_of, untuned
from bench.peers.peer import Direction


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield name, str(value)


@pytest.mark.parametrize(
    ("direction", "tuned"),
    [
        (
            Direction.TELEMETRY,
            {"max_in_flight", "count", "period", "count_threshold", "delay_threshold"},
        ),
        (Direction.COMMANDS, {"max_in_flight", "max_outstanding_messages"}),
    ],
)
def test_benthos_with_its_defaults_differs_by_what_was_tuned_and_no_more(
    direction: Direction, tuned: set[str]
) -> None:
    at_its_best = set(_settings(yaml.safe_load(config_of(direction).read_text())))
    with_defaults = set(_settings(untuned(direction)))
    assert with_defaults < at_its_best
    assert {name for name, _ in at_its_best - with_defaults} == tuned
