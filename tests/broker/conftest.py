"""Databases for the tests: an SQLite file, and one of a PostgreSQL that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.harness.postgresql import Postgresql, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """An empty database."""
    if request.param == "sqlite":
        return registry_url("sqlite:///registry.db", folder=tmp_path)
    server: Postgresql = request.getfixturevalue("postgresql")
    return registry_url(server.url(server.new_database()), environment=server.environment)


@pytest.fixture
def open_registry(url: URL) -> Iterator[Callable[[], SqlRegistry]]:
    """Opens the database once more, as another process would."""
    opened: list[SqlRegistry] = []

    def open_one() -> SqlRegistry:
        opened.append(SqlRegistry(url))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(open_registry: Callable[[], SqlRegistry]) -> SqlRegistry:
    return open_registry()
