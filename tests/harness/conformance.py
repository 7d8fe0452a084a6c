"""Tests name the specification's numbered statements that they show.

::

    @conforms(v5="3.1.2-4 3.1.4-4", v311="3.1.2-6")
    def test_a_clean_start_discards_the_session() -> None: ...

docs/conformance.toml lists the statements, docs/conformance.md is made of both, and a test fails
where one that is the server's has none (tests/test_conformance_page.py).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

LIST = Path(__file__).parents[2] / "docs" / "conformance.toml"


def conforms(*, v5: str = "", v311: str = "") -> Callable[[T], T]:
    """Says which statements a test shows: the numbers behind ``MQTT-``. ValueError for others."""
    known = _known()
    for version, numbers in (("v5", v5), ("v311", v311)):
        unknown = set(numbers.split()) - known[version]
        if unknown:
            raise ValueError(f"{version} has no statement {', '.join(sorted(unknown))} of a server")

    def mark(test: T) -> T:
        return test

    return mark


@cache
def _known() -> dict[str, set[str]]:
    with LIST.open("rb") as file:
        return {version: set(kinds["server"]) for version, kinds in tomllib.load(file).items()}
