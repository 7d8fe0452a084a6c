"""Questions to a registry's database, each within a transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Select, Text, cast, func, literal, select

from broker.auth.identity import Authority, Credential, DirectoryChanges, Standing, Validity
from broker.auth.password_formats import OtherHash
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind, Rights
from broker.registry import models
from broker.registry.database import Subject
from broker.registry.entries import Content, Entry, principal_of
from broker.registry.roles import Role
from broker.registry.rows import authority_of, credential_of, entry_of, roles_of, validity_of

_WITHOUT_METADATA = select(*(each for each in models.members.c if each.name != "metadata"))


def version(connection: Connection) -> int:
    """The number of the last change."""
    return int(connection.execute(select(models.version.c.version)).scalar_one())


def changes(connection: Connection, since: int, until: int) -> DirectoryChanges:
    """What the versions after ``since`` changed; anyone where one of them is forgotten."""
    log = models.changes.c
    after = (log.version > since) & (log.version <= until)
    found = _gathered(connection, select(log.version, log.subject, log.name).where(after))
    # Every version has a row: one that is missing is forgotten.
    is_whole = len({version for version, _, _ in found}) == until - since
    if not is_whole or None in {name for _, _, name in found}:
        return DirectoryChanges(version=until, names=None)
    about: dict[str, set[str]] = {subject.value: set() for subject in Subject}
    for _, subject, name in found:
        about[subject].add(name)
    return DirectoryChanges(
        version=until,
        names=frozenset(about[Subject.MEMBER.value]),
        removed=frozenset(about[Subject.REMOVED.value]),
        roles=frozenset(about[Subject.ROLE.value]),
        authorities=frozenset(about[Subject.AUTHORITY.value]),
    )


def entries(connection: Connection, names: Sequence[str] | None = None) -> dict[str, Entry]:
    """Devices and services with all that they have: those of the names, or everyone."""
    others = _other_hashes(connection, names)
    return _entries(connection, names, select(models.members), others)


def bare_entry(connection: Connection, name: str) -> Entry | None:
    """One as a broker needs it.

    Without its metadata, which can be large and says nothing of rights, and without its passwords'
    hashes in other formats, by which no login is verified.
    """
    return _entries(connection, (name,), _WITHOUT_METADATA, {}).get(name)


def standings(
    connection: Connection, names: Sequence[str], rights: Mapping[str, Rights]
) -> dict[str, Standing]:
    """What logins of those of the names rest on that are there."""
    members, credentials = models.members.c, models.credentials.c
    of_members = select(
        members.name, members.kind, members.role, members.client_id, members.blocked
    ).where(_among(connection, members.name, names))
    of_credentials = select(
        credentials.member, credentials.id, credentials.not_before, credentials.not_after
    ).where(_among(connection, credentials.member, names))
    validities: dict[str, dict[str, Validity]] = {}
    for member, identifier, not_before, not_after in _gathered(connection, of_credentials):
        validities.setdefault(member, {})[identifier] = validity_of(not_before, not_after)
    bound = speaks_for(connection, names)
    return {
        name: Standing(
            principal=principal_of(
                name,
                PrincipalKind(kind),
                client_id,
                role,
                rights,
                speaks_for=bound.get(name, ()),
            ),
            blocked=bool(blocked),
            validities=validities.get(name, {}),
        )
        for name, kind, role, client_id, blocked in _gathered(connection, of_members)
    }


def _entries(
    connection: Connection,
    names: Sequence[str] | None,
    wanted: Select[Any],
    others: Mapping[str, Sequence[OtherHash]],
) -> dict[str, Entry]:
    members, gateways, credentials = models.members, models.gateways, models.credentials
    gateways_of: dict[str, list[str]] = {}
    for row in _selected(connection, select(gateways), gateways.c.device, names):
        gateways_of.setdefault(row.device, []).append(row.gateway)
    credentials_of: dict[str, list[Credential]] = {}
    for row in _selected(connection, select(credentials), credentials.c.member, names):
        made = credential_of(row, others.get(row.id, ()))
        credentials_of.setdefault(row.member, []).append(made)
    return {
        row.name: entry_of(row, gateways_of.get(row.name, ()), credentials_of.get(row.name, ()))
        for row in _selected(connection, wanted, members.c.name, names)
    }


def _other_hashes(
    connection: Connection, names: Sequence[str] | None
) -> dict[str, list[OtherHash]]:
    """Passwords' hashes in other formats, by the credentials' ids."""
    credentials, hashes = models.credentials.c, models.other_hashes
    wanted = select(hashes)
    if names is not None:
        wanted = wanted.join(models.credentials, hashes.c.credential == credentials.id)
    found: dict[str, list[OtherHash]] = {}
    for row in _selected(connection, wanted, credentials.member, names):
        made = OtherHash(format=row.format, encoded=row.hash)
        found.setdefault(row.credential, []).append(made)
    return found


def speaks_for(connection: Connection, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Of each gateway among the names, the devices that it speaks for, with their roles."""
    members, gateways = models.members, models.gateways
    bound = (
        select(gateways.c.gateway, members.c.name, members.c.role)
        .join(members, gateways.c.device == members.c.name)
        .where(members.c.blocked.is_(False), _among(connection, gateways.c.gateway, names))
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for gateway, device, role in _gathered(connection, bound):
        found.setdefault(gateway, []).append((device, role))
    return found


def count(connection: Connection) -> int:
    """How many devices and services there are."""
    return int(connection.execute(select(func.count()).select_from(models.members)).scalar_one())


def kinds(connection: Connection, names: Sequence[str]) -> dict[str, PrincipalKind]:
    """Which of the names are whose."""
    table = models.members.c
    wanted = select(table.name, table.kind).where(_among(connection, table.name, names))
    return {name: PrincipalKind(kind) for name, kind in _gathered(connection, wanted)}


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
    each = select(func.count().label("count")).group_by(table.member)
    counts = each.where(table.password_hash.is_not(None), _has_not_ended(now)).subquery()
    return connection.execute(select(func.max(counts.c.count))).scalar() or 0


def password_formats(connection: Connection) -> frozenset[str]:
    """Those that were chosen."""
    return frozenset(connection.execute(select(models.password_formats.c.name)).scalars())


def count_passwords(connection: Connection, now: float) -> tuple[int, dict[str, int]]:
    """How many passwords have not ended; and how many of them have a hash in which format."""
    table, hashes = models.credentials.c, models.other_hashes.c
    holds = table.password_hash.is_not(None) & _has_not_ended(now)
    joined = select(hashes.format, func.count()).join(
        models.credentials, hashes.credential == table.id
    )
    counted = connection.execute(joined.where(holds).group_by(hashes.format))
    return (
        int(connection.execute(select(func.count(table.id)).where(holds)).scalar_one()),
        {name: int(number) for name, number in counted},
    )


def _has_not_ended(now: float) -> ColumnElement[bool]:
    not_after = models.credentials.c.not_after
    return not_after.is_(None) | (not_after > int(now))


def content(connection: Connection) -> Content:
    """Everything."""
    return Content(
        entries=entries(connection),
        roles=roles(connection),
        authorities=authorities(connection),
        password_formats=password_formats(connection),
    )


def _selected(
    connection: Connection,
    statement: Select[Any],
    column: ColumnElement[str],
    names: Sequence[str] | None,
) -> Iterable[Any]:
    if names is not None:
        statement = statement.where(_among(connection, column, names))
    return connection.execute(statement)


def _among(
    connection: Connection, column: ColumnElement[str], names: Iterable[str]
) -> ColumnElement[bool]:
    """Whether a column has one of the names; one parameter, and one plan, for any number."""
    listed = literal(json.dumps(list(names)), Text)
    if connection.dialect.name == "sqlite":
        return column.in_(select(func.json_each(listed).table_valued("value").c.value))
    return column.in_(select(func.json_array_elements_text(cast(listed, JSON))))


def _gathered(connection: Connection, statement: Select[Any]) -> list[list[Any]]:
    """All rows of a statement, of what JSON can hold, by one row.

    SQLite's module lets go of the interpreter's lock for each row, and behind a busy event loop
    waits for it up to 5 ms: ten thousand rows took seconds.
    """
    columns = statement.subquery().c
    if connection.dialect.name == "sqlite":
        whole = func.json_group_array(func.json_array(*columns))
    else:
        whole = func.json_agg(func.json_build_array(*columns))
    text = connection.execute(select(cast(whole, Text))).scalar_one()
    return [] if text is None else list(json.loads(text))
