"""Rows of the tables to what a registry holds, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Row

from broker.auth.identity import (
    FIRST_SECOND,
    LAST_SECOND,
    Authority,
    Certificate,
    Credential,
    KeyAlgorithm,
    NameFrom,
    Password,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.auth.password_formats import OtherHash
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind
from broker.registry.content_directory import hash_settings
from broker.registry.entries import Entry
from broker.registry.roles import Patterns, Role

_NO_CREDENTIAL: dict[str, Any] = dict.fromkeys(
    (
        "password_hash",
        "hash_settings",
        "salt",
        "iterations",
        "stored_key",
        "server_key",
        "algorithm",
        "pem",
        "fingerprint",
    )
)

_ALWAYS = Validity()


def member_values(entry: Entry) -> dict[str, Any]:
    """The row of a device or service in ``members``."""
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "role": entry.role,
        "client_id": entry.client_id,
        "blocked": entry.blocked,
        "metadata": dict(entry.metadata),
    }


def entry_of(
    row: Row[Any], gateways: Iterable[str] = (), credentials: Iterable[Credential] = ()
) -> Entry:
    """A device or service; without metadata where that wasn't asked for."""
    kind = PrincipalKind(row.kind)
    return Entry(
        name=row.name,
        kind=kind,
        role=row.role,
        client_id_prefix=row.client_id if kind is PrincipalKind.SERVICE else None,
        blocked=row.blocked,
        metadata=row._mapping.get("metadata", {}),
        gateways=tuple(gateways),
        credentials=tuple(credentials),
    )


def credential_values(credential: Credential, member: str) -> dict[str, Any]:
    """The row of a credential in ``credentials``."""
    values = {"id": credential.id, "member": member} | _NO_CREDENTIAL
    values |= _validity_values(credential.validity)
    match credential:
        case Password(hash=stored):
            settings = hash_settings(stored)
            values |= {"password_hash": stored.encoded, "hash_settings": settings}
            return values | {"kind": "password"}
        case ScramSecret():
            parts = ("salt", "iterations", "stored_key", "server_key")
            values |= {part: getattr(credential, part) for part in parts}
            return values | {"kind": "scram"}
        case PublicKey():
            values |= {"algorithm": credential.algorithm.value, "pem": credential.pem}
            return values | {"kind": "public_key"}
        case Certificate():
            return values | {"kind": "certificate", "fingerprint": credential.fingerprint}


def other_hash_values(credential: Credential) -> Iterator[dict[str, Any]]:
    """The rows of a credential in ``other_hashes``."""
    for each in credential.others if isinstance(credential, Password) else ():
        yield {"credential": credential.id, "format": each.format, "hash": each.encoded}


def credential_of(row: Row[Any], others: Iterable[OtherHash] = ()) -> Credential:
    """A credential. ``others``: of a password, its hashes in other formats."""
    known = {"id": row.id, "validity": _validity(row)}
    match row.kind:
        case "password":
            own = PasswordHash(encoded=row.password_hash)
            return Password(**known, hash=own, others=tuple(others))
        case "scram":
            return ScramSecret(
                **known,
                salt=row.salt,
                iterations=row.iterations,
                stored_key=row.stored_key,
                server_key=row.server_key,
            )
        case "public_key":
            return PublicKey(**known, algorithm=KeyAlgorithm(row.algorithm), pem=row.pem)
        case _:
            return Certificate(**known, fingerprint=row.fingerprint)


def filter_values(name: str, role: Role) -> Iterator[dict[str, Any]]:
    """The rows of a role in ``role_filters``."""
    for action in ("publish", "subscribe", "will"):
        for effect in ("allow", "deny"):
            for position, text in enumerate(getattr(getattr(role, action), effect)):
                yield {
                    "role": name,
                    "action": action,
                    "effect": effect,
                    "position": position,
                    "filter": text,
                }


def roles_of(names: Iterable[str], filters: Iterable[Row[Any]]) -> dict[str, Role]:
    """Roles, from their rows in the order of their positions."""
    texts: dict[tuple[str, str, str], list[str]] = {}
    for row in filters:
        texts.setdefault((row.role, row.action, row.effect), []).append(row.filter)

    def patterns(name: str, action: str) -> Patterns:
        return Patterns(
            allow=tuple(texts.get((name, action, "allow"), ())),
            deny=tuple(texts.get((name, action, "deny"), ())),
        )

    return {
        name: Role(
            publish=patterns(name, "publish"),
            subscribe=patterns(name, "subscribe"),
            will=patterns(name, "will"),
        )
        for name in names
    }


def authority_values(authority: Authority) -> dict[str, Any]:
    """The row of an authority."""
    return {
        "name": authority.id,
        "pem": authority.pem,
        "name_from": authority.name_from.value,
        "pattern": authority.pattern,
        "revocation_list": authority.revocation_list,
    } | _validity_values(authority.validity)


def authority_of(row: Row[Any]) -> Authority:
    """An authority."""
    return Authority(
        id=row.name,
        validity=_validity(row),
        pem=row.pem,
        name_from=NameFrom(row.name_from),
        pattern=row.pattern,
        revocation_list=row.revocation_list,
    )


def _validity_values(validity: Validity) -> dict[str, Any]:
    bounds = {"not_before": validity.not_before, "not_after": validity.not_after}
    return {key: None if at is None else int(at) for key, at in bounds.items()}


def _validity(row: Row[Any]) -> Validity:
    return validity_of(row.not_before, row.not_after)


def validity_of(not_before: int | None, not_after: int | None) -> Validity:
    """The bounds of a row."""
    if not_before is None and not_after is None:
        return _ALWAYS
    # What another program wrote beyond all years reads as their end, so that it can be shown.
    return Validity(
        not_before=_within(not_before, FIRST_SECOND, LAST_SECOND - 1),
        not_after=_within(not_after, FIRST_SECOND + 1, LAST_SECOND),
    )


def _within(seconds: int | None, first: float, last: float) -> float | None:
    return None if seconds is None else min(max(float(seconds), first), last)
