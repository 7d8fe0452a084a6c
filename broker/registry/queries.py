"""Questions to a registry's database, each within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from broker.auth.identity import Authority, Credential, DirectoryChanges
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind
from broker.registry import models
from broker.registry.database import Subject
from broker.registry.entries import Content, Entry
from broker.registry.roles import Role
from broker.registry.rows import authority_of, credential_of, entry_of, roles_of

_NAMES_AT_ONCE = 500
"""In one statement; SQLite takes 32,766, and plans are remembered by their number."""


_WITHOUT_METADATA = select(*(each for each in models.members.c if each.name != "metadata"))


def version(connection: Connection) -> int:
    """The number of the last change."""
    return int(connection.execute(select(models.version.c.version)).scalar_one())


def changes(connection: Connection, since: int, until: int) -> DirectoryChanges:
    """What the versions after ``since`` changed; anyone where one of them is forgotten."""
    log = models.changes.c
    after = (log.version > since) & (log.version <= until)
    found = connection.execute(select(log.version, log.subject, log.name).where(after)).all()
    # Every version has a row: one that is missing is forgotten.
    if len({row.version for row in found}) != until - since or None in {row.name for row in found}:
        return DirectoryChanges(version=until, names=None)
    about: dict[Subject, set[str]] = {subject: set() for subject in Subject}
    for row in found:
        about[Subject(row.subject)].add(row.name)
    return DirectoryChanges(
        version=until,
        names=frozenset(about[Subject.MEMBER]),
        roles=frozenset(about[Subject.ROLE]),
        authorities=frozenset(about[Subject.AUTHORITY]),
    )


def entries(connection: Connection, names: Sequence[str] | None = None) -> dict[str, Entry]:
    """Devices and services with all that they have: those of the names, or everyone."""
    return _entries(connection, names, select(models.members))


def bare_entries(connection: Connection, names: Sequence[str]) -> dict[str, Entry]:
    """The same without their metadata, which can be large and says nothing of rights."""
    return _entries(connection, names, _WITHOUT_METADATA)


def _entries(
    connection: Connection, names: Sequence[str] | None, wanted: Select[Any]
) -> dict[str, Entry]:
    members, gateways, credentials = models.members, models.gateways, models.credentials
    gateways_of: dict[str, list[str]] = {}
    for row in _selected(connection, select(gateways), gateways.c.device, names):
        gateways_of.setdefault(row.device, []).append(row.gateway)
    credentials_of: dict[str, list[Credential]] = {}
    for row in _selected(connection, select(credentials), credentials.c.member, names):
        credentials_of.setdefault(row.member, []).append(credential_of(row))
    return {
        row.name: entry_of(row, gateways_of.get(row.name, ()), credentials_of.get(row.name, ()))
        for row in _selected(connection, wanted, members.c.name, names)
    }


def bound_to(connection: Connection, names: Sequence[str]) -> dict[str, list[Entry]]:
    """The devices of each gateway among the names, without credentials and metadata."""
    members, gateways = models.members, models.gateways
    joined = _WITHOUT_METADATA.add_columns(gateways.c.gateway).join(
        gateways, gateways.c.device == members.c.name
    )
    bound: dict[str, list[Entry]] = {}
    for row in _selected(connection, joined, gateways.c.gateway, names):
        bound.setdefault(row.gateway, []).append(entry_of(row))
    return bound


def count(connection: Connection) -> int:
    """How many devices and services there are."""
    return int(connection.execute(select(func.count()).select_from(models.members)).scalar_one())


def kinds(connection: Connection, names: Sequence[str]) -> dict[str, PrincipalKind]:
    """Which of the names are whose."""
    table = models.members.c
    rows = _selected(connection, select(table.name, table.kind), table.name, names)
    return {row.name: PrincipalKind(row.kind) for row in rows}


def certificate_owner(connection: Connection, fingerprint: bytes) -> str | None:
    """Whose certificate that is."""
    table = models.credentials.c
    found = select(table.member).where(table.fingerprint == fingerprint)
    return connection.execute(found).scalar_one_or_none()


def roles(connection: Connection) -> dict[str, Role]:
    """The roles that are kept, beside or in place of the standard ones."""
    names = connection.execute(select(models.roles.c.name)).scalars().all()
    if not names:
        return {}
    filters = select(models.role_filters).order_by(models.role_filters.c.position)
    return roles_of(names, connection.execute(filters))


def authorities(connection: Connection) -> dict[str, Authority]:
    """All CAs, by name."""
    found = (authority_of(row) for row in connection.execute(select(models.authorities)))
    return {authority.id: authority for authority in found}


def password_hashes(connection: Connection) -> tuple[PasswordHash, ...]:
    """A hash for each set of argon2id parameters in use."""
    table = models.credentials.c
    one = select(func.min(table.password_hash)).group_by(table.hash_settings)
    found = connection.execute(one.where(table.password_hash.is_not(None))).scalars()
    return tuple(PasswordHash(encoded=encoded) for encoded in found)


def most_passwords(connection: Connection, now: float) -> int:
    """How many passwords that have not ended one has at most."""
    table = models.credentials.c
    has_not_ended = table.not_after.is_(None) | (table.not_after > int(now))
    each = select(func.count().label("count")).group_by(table.member)
    counts = each.where(table.password_hash.is_not(None), has_not_ended).subquery()
    return connection.execute(select(func.max(counts.c.count))).scalar() or 0


def content(connection: Connection) -> Content:
    """Everything."""
    return Content(
        entries=entries(connection),
        roles=roles(connection),
        authorities=authorities(connection),
    )


def _selected(
    connection: Connection,
    statement: Select[Any],
    column: ColumnElement[str],
    names: Sequence[str] | None,
) -> Iterator[Any]:
    if names is None:
        yield from connection.execute(statement)
        return
    for some in _batches(names):
        yield from connection.execute(statement.where(column.in_(some)))


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    left = iter(names)
    while some := list(islice(left, _NAMES_AT_ONCE)):
        yield some
