"""The tables are made, upgraded from each earlier version, and are those that are known."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import URL

from broker.errors import RegistryError
from broker.registry import migrating, models
from broker.registry.database import Database
from broker.registry.sql import SqlRegistry

VERSIONS = [
    script.revision for script in ScriptDirectory.from_config(migrating._config()).walk_revisions()
][::-1]


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def test_the_steps_make_the_tables_that_the_program_knows(database: Database) -> None:
    migrating.upgrade(database)
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, models.metadata) == []


def test_the_version_that_the_program_needs_is_the_last_step_s() -> None:
    assert VERSIONS[-1] == migrating.LATEST


@pytest.mark.parametrize("version", VERSIONS)
def test_every_earlier_version_is_upgraded_and_keeps_what_it_holds(
    database: Database, url: URL, version: str
) -> None:
    assert migrating.upgrade(database, to=version) == (None, version)
    with database.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO members (name, kind, role, client_id, blocked, metadata)"
                " VALUES ('d1', 'device', 'device', 'd1', :no, '{}')"
            ),
            {"no": False},
        )
    assert migrating.upgrade(database) == (version, migrating.LATEST)
    registry = SqlRegistry(url)
    assert list(registry.entries()) == ["d1"]
    registry.close()


def test_processes_that_start_at_once_make_the_tables_once(url: URL) -> None:
    with ThreadPoolExecutor(4) as threads:
        for registry in threads.map(lambda _: SqlRegistry(url), range(4)):
            assert registry.entries() == {}
            registry.close()


def test_a_database_of_a_newer_program_is_refused(database: Database, url: URL) -> None:
    migrating.upgrade(database)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (lambda: SqlRegistry(url), lambda: migrating.upgrade(database)):
        with pytest.raises(RegistryError, match="version 9999 is not known here"):
            attempt()


def test_a_database_of_something_else_is_left_alone(database: Database, url: URL) -> None:
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
    with pytest.raises(RegistryError, match="it has tables, and none of a registry"):
        SqlRegistry(url)
