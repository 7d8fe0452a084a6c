"""Writes what is to be in a registry's database; whether it fits together was looked at before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, and_, bindparam, delete, insert, update

from broker.auth.identity import Authority
from broker.registry import models
from broker.registry.entries import Entry
from broker.registry.roles import Role
from broker.registry.rows import (
    authority_values,
    credential_values,
    filter_values,
    member_values,
    other_hash_values,
)


def write_entries(
    connection: Connection, before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> None:
    """Writes the difference: what goes goes first, then members, then what they have."""
    members, gateways, credentials = models.members, models.gateways, models.credentials
    gone = [{"gone": name} for name in before.keys() - after.keys()]
    had = {(name, each) for name, entry in before.items() for each in entry.gateways}
    has = {(name, each) for name, entry in after.items() for each in entry.gateways}
    knew = {each.id: (name, each) for name, entry in before.items() for each in entry.credentials}
    knows = {each.id: (name, each) for name, entry in after.items() for each in entry.credentials}
    stale = [{"gone": key} for key, known in knew.items() if knows.get(key) != known]
    fresh = [
        credential_values(each, name)
        for key, (name, each) in knows.items()
        if knew.get(key) != (name, each)
    ]
    unbound = [{"gone": device, "from": gateway} for device, gateway in had - has]
    if unbound:
        pair = and_(gateways.c.device == bindparam("gone"), gateways.c.gateway == bindparam("from"))
        connection.execute(delete(gateways).where(pair), unbound)
    if stale:
        connection.execute(delete(credentials).where(credentials.c.id == bindparam("gone")), stale)
    if gone:
        connection.execute(delete(members).where(members.c.name == bindparam("gone")), gone)
        presence = models.presence
        connection.execute(delete(presence).where(presence.c.name == bindparam("gone")), gone)
    new = [member_values(entry) for name, entry in after.items() if name not in before]
    if new:
        connection.execute(insert(members), new)
    for name, entry in after.items():
        values = member_values(entry)
        if name in before and values != member_values(before[name]):
            connection.execute(update(members).where(members.c.name == name).values(values))
    bound = [{"device": device, "gateway": gateway} for device, gateway in sorted(has - had)]
    if bound:
        connection.execute(insert(gateways), bound)
    if fresh:
        connection.execute(insert(credentials), fresh)
        ids = [values["id"] for values in fresh]
        others = [row for key in ids for row in other_hash_values(knows[key][1])]
        if others:
            connection.execute(insert(models.other_hashes), others)


def write_password_formats(
    connection: Connection, *, added: Iterable[str] = (), removed: Iterable[str] = ()
) -> None:
    """Writes which are chosen. The hashes in those that are removed go with them."""
    table = models.password_formats
    for name in removed:
        connection.execute(delete(table).where(table.c.name == name))
    for name in added:
        connection.execute(insert(table).values(name=name))


def write_roles(connection: Connection, roles: Mapping[str, Role | None]) -> None:
    """Writes each role in place of what was there; None: removes it."""
    for name, role in roles.items():
        connection.execute(delete(models.roles).where(models.roles.c.name == name))
        if role is not None:
            connection.execute(insert(models.roles).values(name=name))
            if filters := list(filter_values(name, role)):
                connection.execute(insert(models.role_filters), filters)


def write_authorities(connection: Connection, authorities: Mapping[str, Authority | None]) -> None:
    """Writes each CA in place of what was there; None: removes it."""
    table = models.authorities
    for name, authority in authorities.items():
        connection.execute(delete(table).where(table.c.name == name))
        if authority is not None:
            connection.execute(insert(table).values(authority_values(authority)))
