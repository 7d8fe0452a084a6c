"""Which version of the program this is, where that can be known."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def program_version() -> str:
    """As the package was installed; ``unknown`` where it runs from its folder alone."""
    try:
        return version("mqttbeam")
    except PackageNotFoundError:
        return "unknown"
