from __future__ import annotations

from importlib import metadata

import pytest

from broker import version
from broker.version import program_version


def test_a_program_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert program_version() not in ("", "unknown")
    monkeypatch.setattr(version, "version", missing)
    program_version.cache_clear()
    assert program_version() == "unknown"
    program_version.cache_clear()
