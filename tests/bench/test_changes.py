"""How soon a change is in effect is measured."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("registry", "change", "said"),
    [
        ("sqlite", "role", "the role that all share allows less"),
        ("sqlite", "blocked", "all are blocked"),
        ("file", "one", "one is blocked"),
    ],
)
def test_the_time_and_what_others_waited_are_printed(registry: str, change: str, said: str) -> None:
    options = ("--registry", registry, "--change", change)
    done = subprocess.run(
        [sys.executable, "-m", "bench.changes", "--count", "100", "--rounds", "1", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = r" all were told after [\d.]+ s;" if change == "blocked" else ""
    assert re.fullmatch(
        rf"100 devices, {said}: in effect for the last after [\d.]+ s, the median after [\d.]+ s;"
        rf"{told} others waited \d+ ms at most\n",
        done.stdout,
    ), done.stdout
