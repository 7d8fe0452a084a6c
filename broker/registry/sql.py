"""The device registry in a database: SQLite or PostgreSQL.

Any number of processes read and change it at once. Each change is one transaction, which raises
the registry's version and says whom it is about; a broker asks for the version four times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from broker.auth.identity import Authority, DirectoryChanges, Identity, Standing
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import Rights
from broker.registry import editing, event_rows, migrating, queries
from broker.registry.database import Database
from broker.registry.entries import Content, Entry
from broker.registry.events import ClientEvent, Presence
from broker.registry.roles import STANDARD_ROLES, Role


class SqlRegistry:
    """The ``Directory`` that a database is, and the changes that can be made to it.

    An empty database gets its tables.

    Args:
      url: where it is; see ``registry_url``.

    Raises:
      RegistryError: it can't be reached, or is of another version of this program.
    """

    def __init__(self, url: URL) -> None:
        self._database = Database(url)
        self._replaced = False
        try:
            migrating.require_current(self._database)
        except BaseException:  # whatever it was, its connections are closed; raised again
            self._database.close()
            raise

    @property
    def name(self) -> str:
        """The database's URL, without its password."""
        return self._database.name

    def close(self) -> None:
        """Closes every connection."""
        self._database.close()

    def find(self, name: str) -> Identity | None:
        """Who bears the name."""
        with self._database.reading() as connection:
            entry = queries.bare_entry(connection, name)
            if entry is None:
                return None
            rights = _rights(connection)
            speaks_for = queries.speaks_for(connection, (name,)).get(name, ())
            return entry.identity(rights, speaks_for)

    def standings(self, names: Sequence[str]) -> Mapping[str, Standing]:
        """What logins of those of the names rest on that somebody bears."""
        with self._database.reading() as connection:
            return queries.standings(connection, names, _rights(connection))

    def count(self) -> int:
        """How many devices and services there are."""
        with self._database.reading() as connection:
            return queries.count(connection)

    def unknown(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the names that nobody bears; none of an empty registry."""
        with self._database.reading() as connection:
            if not queries.count(connection):
                return frozenset()
            return frozenset(names) - queries.kinds(connection, names).keys()

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        """Whose certificate that is."""
        with self._database.reading() as connection:
            owner = queries.certificate_owner(connection, fingerprint)
        return None if owner is None else self.find(owner)

    def rights(self) -> Mapping[str, Rights]:
        """Those of all roles, by name."""
        with self._database.reading() as connection:
            return _rights(connection)

    def authorities(self) -> Sequence[Authority]:
        """All CAs."""
        with self._database.reading() as connection:
            return tuple(queries.authorities(connection).values())

    def password_hashes(self) -> Sequence[PasswordHash]:
        """A hash for each set of argon2id parameters in use, for decoys."""
        with self._database.reading() as connection:
            return queries.password_hashes(connection)

    def most_passwords(self, now: float) -> int:
        """How many passwords that have not ended one has at most, for decoys."""
        with self._database.reading() as connection:
            return queries.most_passwords(connection, now)

    def changes(self, since: int) -> DirectoryChanges:
        """What changed, by whatever process, after the version ``since``.

        A restored copy in the place of an SQLite file may have changed anyone.
        """
        if self._replaced or self._database.has_been_replaced():
            # Stays so until it has been read: no change is lost to an error.
            self._replaced = True
            self._database.reopen()
            migrating.require_current(self._database)
            with self._database.reading() as connection:
                version = queries.version(connection)
            self._replaced = False
            return DirectoryChanges(version=version, names=None)
        with self._database.reading() as connection:
            version = queries.version(connection)
            if version == since:
                return DirectoryChanges(version=version)
            return queries.changes(connection, since, version)

    def entries(self) -> Mapping[str, Entry]:
        """All devices and services, by name."""
        with self._database.reading() as connection:
            return queries.entries(connection)

    def entry(self, name: str) -> Entry | None:
        """One device or service."""
        with self._database.reading() as connection:
            return queries.entries(connection, (name,)).get(name)

    def record(self, events: Sequence[ClientEvent], seen: Mapping[str, float]) -> None:
        """Writes connects and disconnects, and last-seen times; no change of the registry."""
        with self._database.writing() as connection:
            event_rows.record(connection, events, seen)

    def events(self, *, name: str | None = None, limit: int = 100) -> Sequence[ClientEvent]:
        """The last connects and disconnects, of all or of one, the newest last."""
        with self._database.reading() as connection:
            return event_rows.read(connection, name=name, limit=limit)

    def forget_events(self, before: float) -> int:
        """Removes events of before that time, in seconds since the epoch; returns how many."""
        with self._database.writing() as connection:
            return event_rows.forget(connection, before)

    def presence(self, name: str) -> Presence:
        """When a device or service did something last."""
        with self._database.reading() as connection:
            return event_rows.presence(connection, name)

    def content(self) -> Content:
        """Everything, as of one moment."""
        with self._database.reading() as connection:
            return queries.content(connection)

    def edit(self, name: str, change: Callable[[Entry | None], Entry | None]) -> Entry | None:
        """Adds, changes or removes a device or service: nobody changes it at the same time.

        ``change`` gets what is there, or None, and gives what is to be there. Returns that.

        Raises:
          RegistryError: what doesn't fit to the rest; nothing is changed then. Also what
            ``change`` raises.
        """
        with self._database.changing() as written:
            return editing.edit_entry(written, name, change)

    def password_formats(self) -> frozenset[str]:
        """In which passwords that are set are hashed beside argon2id."""
        with self._database.reading() as connection:
            return queries.password_formats(connection)

    def count_passwords(self, now: float) -> tuple[int, Mapping[str, int]]:
        """How many passwords have not ended; and how many of them have a hash in which format."""
        with self._database.reading() as connection:
            return queries.count_passwords(connection, now)

    def choose_password_format(self, name: str) -> bool:
        """From now on passwords are hashed in that format, too. Returns False if they were."""
        with self._database.changing() as written:
            return editing.choose_password_format(written, name)

    def drop_password_format(self, name: str) -> int | None:
        """Removes a format, and every hash in it. Returns how many; None if it wasn't chosen."""
        with self._database.changing() as written:
            return editing.drop_password_format(written, name)

    def put_role(self, name: str, role: Role | None) -> None:
        """Adds, replaces or, with None, removes a role. Raises RegistryError."""
        with self._database.changing() as written:
            editing.put_role(written, name, role)

    def put_authority(self, name: str, authority: Authority | None) -> None:
        """Adds, replaces or, with None, removes a CA. Raises RegistryError."""
        with self._database.changing() as written:
            editing.put_authority(written, name, authority)

    def edit_authority(self, name: str, change: Callable[[Authority], Authority]) -> Authority:
        """Changes a CA that is there: nobody changes it at the same time. Returns what it is now.

        Raises:
          RegistryError: there is none of that name. Also what ``change`` raises.
        """
        with self._database.changing() as written:
            return editing.edit_authority(written, name, change)

    def take_in(
        self,
        content: Content,
        *,
        instead: bool = False,
        look: Callable[[Content, Content], None] = lambda before, after: None,
    ) -> None:
        """Adds all of ``content``, in place of what has the same names.

        ``instead``: in place of everything, so that what isn't in it is removed. ``look`` gets what
        is there and what is to be there, and may raise.

        Raises:
          RegistryError: what doesn't fit to the rest; nothing is changed then. Also what ``look``
            raises.
        """
        with self._database.changing() as written:
            editing.take_in(written, content, instead=instead, look=look)


def _rights(connection: Connection) -> dict[str, Rights]:
    roles = {**STANDARD_ROLES, **queries.roles(connection)}
    return {name: role.rights for name, role in roles.items()}


def count_members(url: URL) -> int | None:
    """How many devices and services a database has; None: it is still empty. Changes nothing.

    Raises:
      RegistryError: it can't be reached, or is of another version of this program.
    """
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return None
    database = Database(url)
    try:
        if migrating.is_empty(database):
            return None
        migrating.require_current(database)
        with database.reading() as connection:
            return queries.count(connection)
    finally:
        database.close()
