"""The registry that a configuration names, whichever kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from broker.registry.content_directory import ContentDirectory
from broker.registry.yaml_registry import YamlRegistry

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from broker.registry.sql import SqlRegistry


def open_registry(
    *, file: Path | None = None, url: URL | None = None
) -> YamlRegistry | SqlRegistry | ContentDirectory:
    """Opens a file, a database, or nobody's where neither is given. Raises RegistryError."""
    if url is not None:
        # Imported only where there is one: it takes a third of a second.
        from broker.registry.sql import SqlRegistry

        return SqlRegistry(url)
    return ContentDirectory() if file is None else YamlRegistry(file)


def count_registered(*, file: Path | None = None, url: URL | None = None) -> int | None:
    """How many devices and services a registry has; None: its database is still empty.

    Nothing is made or changed.

    Raises:
      RegistryError: it can't be opened, or is of another version.
    """
    if url is None:
        return 0 if file is None else len(YamlRegistry(file).content.entries)
    from broker.registry.sql import count_members

    return count_members(url)


def upgrade_registry(url: URL) -> tuple[str | None, str]:
    """Brings a database to this program's version. Returns the version before, None: empty; and
    the one that it has now.

    Raises:
      RegistryError: it can't be reached, or is of a newer program or of something else.
    """
    from broker.registry import migrating
    from broker.registry.database import Database

    database = Database(url)
    try:
        return migrating.upgrade(database)
    finally:
        database.close()
