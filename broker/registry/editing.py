"""Changes to a registry's database, each within one transaction that nothing goes beside.

What is to be there is checked against the rest before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import Connection, and_, func, or_, select

from broker.auth.identity import Authority, Certificate
from broker.auth.principal import PrincipalKind
from broker.errors import RegistryError
from broker.registry import models, queries
from broker.registry.changes import changes
from broker.registry.database import Change, Subject
from broker.registry.entries import Content, Entry, contradictions, key_of, only_in, wrong_role
from broker.registry.names import check_name
from broker.registry.roles import STANDARD_ROLES, Role
from broker.registry.storing import (
    write_authorities,
    write_entries,
    write_password_formats,
    write_roles,
)


def edit_entry(
    written: Change, name: str, change: Callable[[Entry | None], Entry | None]
) -> Entry | None:
    """Writes what ``change`` makes of an entry, or of None where there is none.

    Hashes of passwords in formats that are not chosen are left out.
    """
    connection = written.connection
    before = queries.entries(connection, (name,)).get(name)
    after = change(before)
    if after == before:
        return after
    if after is not None:
        assert after.name == name
        after = only_in(queries.password_formats(connection), after)
        for key, words in _conflicts(connection, after):
            raise RegistryError(f"{key}: {words}")
    write_entries(
        connection,
        {} if before is None else {name: before},
        {} if after is None else {name: after},
    )
    for entry in (before, after):
        if entry is not None:
            written.about(Subject.MEMBER, name, *entry.gateways)
    if after is None:
        written.about(Subject.REMOVED, name)
    return after


def put_role(written: Change, name: str, role: Role | None) -> None:
    """Writes or removes a role."""
    connection = written.connection
    kept = queries.roles(connection)
    if role is None and name not in kept:
        raise RegistryError(f"roles.{name}: there is none to remove")
    try:
        check_name(name)
    except ValueError as problem:
        raise RegistryError(f"roles: {problem}") from problem
    roles = {**STANDARD_ROLES, **kept}
    if role is not None:
        roles[name] = role
    elif name in STANDARD_ROLES:
        roles[name] = STANDARD_ROLES[name]
    else:
        del roles[name]
    having = select(models.members.c.name).where(models.members.c.role == name)
    holders = connection.execute(having).scalars().all()
    for entry in queries.entries(connection, holders).values():
        for words in wrong_role(entry, roles):
            raise RegistryError(f"{key_of(entry)}.role: {words}")
    write_roles(connection, {name: role})
    written.about(Subject.ROLE, name)


def put_authority(written: Change, name: str, authority: Authority | None) -> None:
    """Writes or removes a CA."""
    kept = queries.authorities(written.connection)
    if authority is None and name not in kept:
        raise RegistryError(f"authorities.{name}: there is none to remove")
    try:
        check_name(name)
    except ValueError as problem:
        raise RegistryError(f"authorities: {problem}") from problem
    write_authorities(written.connection, {name: authority})
    written.about(Subject.AUTHORITY, name)


def edit_authority(
    written: Change, name: str, change: Callable[[Authority], Authority]
) -> Authority:
    """Writes what ``change`` makes of a CA that is there."""
    kept = queries.authorities(written.connection)
    if name not in kept:
        names = ", ".join(sorted(kept)) or "none at all"
        raise RegistryError(f"there is no authority {name!r}; the registry has: {names}")
    after = change(kept[name])
    if after != kept[name]:
        write_authorities(written.connection, {name: after})
        written.about(Subject.AUTHORITY, name)
    return after


def choose_password_format(written: Change, name: str) -> bool:
    """From now on passwords are hashed in that format, too. Returns False if they were already."""
    if name in queries.password_formats(written.connection):
        return False
    write_password_formats(written.connection, added=(name,))
    written.about(Subject.PASSWORD_FORMAT, name)
    return True


def drop_password_format(written: Change, name: str) -> int | None:
    """Removes a format with all hashes in it. Returns how many; None if it wasn't chosen."""
    connection, hashes = written.connection, models.other_hashes.c
    if name not in queries.password_formats(connection):
        return None
    having = select(func.count(hashes.credential)).where(hashes.format == name)
    removed = int(connection.execute(having).scalar_one())
    write_password_formats(connection, removed=(name,))
    written.about(Subject.PASSWORD_FORMAT, name)
    return removed


def take_in(
    written: Change,
    content: Content,
    *,
    instead: bool,
    look: Callable[[Content, Content], None],
) -> None:
    """Writes a whole registry over what is there, or in place of it.

    ``look`` gets what is there and what is to be there, before anything is written.
    """
    connection = written.connection
    before = queries.content(connection)
    after = content
    if not instead:
        after = Content(
            entries={**before.entries, **content.entries},
            roles={**before.roles, **content.roles},
            authorities={**before.authorities, **content.authorities},
            password_formats=before.password_formats | content.password_formats,
        )
    kept = {name: only_in(after.password_formats, each) for name, each in after.entries.items()}
    after = replace(after, entries=kept)
    for key, words in contradictions(after):
        raise RegistryError(f"{key}: {words}")
    look(before, after)
    write_roles(connection, _changed(before.roles, after.roles))
    write_authorities(connection, _changed(before.authorities, after.authorities))
    added = after.password_formats - before.password_formats
    removed = before.password_formats - after.password_formats
    write_password_formats(connection, added=added, removed=removed)
    written.about(Subject.PASSWORD_FORMAT, *added, *removed)
    names = _changed(before.entries, after.entries)
    write_entries(
        connection,
        {name: before.entries[name] for name in names if name in before.entries},
        {name: entry for name, entry in names.items() if entry is not None},
    )
    changed = changes(before, after)
    written.about(Subject.MEMBER, *(changed.names or ()))
    written.about(Subject.REMOVED, *changed.removed)
    written.about(Subject.ROLE, *changed.roles)
    written.about(Subject.AUTHORITY, *changed.authorities)


def _conflicts(connection: Connection, entry: Entry) -> Iterable[tuple[str, str]]:
    """What doesn't fit between one entry and the rest: ``contradictions``, by questions."""
    key = key_of(entry)
    roles = {**STANDARD_ROLES, **queries.roles(connection)}
    yield from ((f"{key}.role", words) for words in wrong_role(entry, roles))
    members, credentials = models.members.c, models.credentials.c
    known = queries.kinds(connection, entry.gateways)
    for gateway in entry.gateways:
        if known.get(gateway) is not PrincipalKind.DEVICE:
            yield f"{key}.gateways", f"there is no device {gateway!r}"
    ids = [credential.id for credential in entry.credentials]
    for identifier in ids:
        if ids.count(identifier) > 1:
            yield f"{key}.credentials", f"id {identifier!r} is taken, by one of {entry.name!r}"
    prints = [each.fingerprint for each in entry.credentials if isinstance(each, Certificate)]
    taken = or_(credentials.id.in_(ids), credentials.fingerprint.in_(prints))
    others = select(credentials.id, credentials.member).where(taken)
    for row in connection.execute(others.where(credentials.member != entry.name)):
        yield f"{key}.credentials", f"{row.id!r} of {row.member!r} is the same, or has the same id"
    if len(set(prints)) < len(prints):
        yield f"{key}.credentials", "has the same certificate twice"
    # Exactly, as LIKE knows no case in SQLite.
    under = func.substr(members.client_id, 1, len(entry.client_id)) == entry.client_id
    over = members.client_id == func.substr(entry.client_id, 1, func.length(members.client_id))
    is_service = members.kind == PrincipalKind.SERVICE.value
    shared = and_(is_service, over)
    if entry.kind is PrincipalKind.SERVICE:
        shared = or_(shared, under)
    holders = select(members.name, members.kind, members.client_id).where(shared)
    for holder in connection.execute(holders.where(members.name != entry.name)):
        place = "client_id_prefix" if entry.kind is PrincipalKind.SERVICE else "name"
        yield (
            f"{key}.{place}",
            f"{entry.client_id!r} overlaps the client identifiers of {holder.kind}"
            f" {holder.name!r}, {holder.client_id!r}; a client identifier belongs to one",
        )


Value = TypeVar("Value")


def _changed(before: Mapping[str, Value], after: Mapping[str, Value]) -> dict[str, Value | None]:
    """What another is there, and None for what is gone, by name."""
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return {name: after.get(name) for name in sorted(names)}
