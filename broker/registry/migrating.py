"""The version of a registry's database: its tables are made where there are none, and upgraded.

An upgrade is asked for and never done by a broker's start: the other processes on the database are
to be stopped first, and a copy is to be made.

Alembic takes longer to import than a command takes, and is needed for the upgrade alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from broker.errors import RegistryError
from broker.registry.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

LATEST = "0004"
"""The version that this program reads and writes: the last of the steps."""

_ADVISORY_LOCK = 0x6D71_7474
"""Of PostgreSQL: one process at a time makes or upgrades the tables."""


def require_current(database: Database) -> None:
    """Makes the tables of an empty database; refuses one of another version.

    Raises:
      RegistryError: saying which version it is, and what to do.
    """
    with database.reading() as connection:
        found = _version(connection)
    if found is None:
        upgrade(database)
    elif found != LATEST:
        raise RegistryError(_advice(database, found))


def is_empty(database: Database) -> bool:
    """Whether it has no tables of a registry yet."""
    with database.reading() as connection:
        return _version(connection) is None


def upgrade(database: Database, *, to: str = "head") -> tuple[str | None, str]:
    """Brings a database to a version, all of it or nothing. Returns the version before, and after.

    Raises:
      RegistryError: it has a newer version, or isn't a registry's.
    """
    from alembic import command
    from alembic.util import CommandError

    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        before = _version(connection)
        if before is None and inspect(connection).get_table_names():
            raise RegistryError(
                f"registry {database.name}: it has tables, and none of a registry; name another"
                " database, or an empty one"
            )
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as problem:
            raise RegistryError(_advice(database, str(before))) from problem
        after = _version(connection)
    assert after is not None
    return before, after


def _advice(database: Database, found: str) -> str:
    from alembic.script import ScriptDirectory

    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    if found in known:
        return (
            f"registry {database.name}: it is of version {found}, this program needs {LATEST};"
            " stop what uses it, make a copy, then run `mqttbeam devices upgrade`"
        )
    return (
        f"registry {database.name}: its version {found} is not known here; it was made by a newer"
        f" program, and this one knows {LATEST} at most"
    )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar_one_or_none()
    return found


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
