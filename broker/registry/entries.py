"""What a registry holds, wherever it is kept: devices, services, roles, authorities. Pure values.

A device may be bound to gateways, which are devices too. A gateway speaks for the devices that are
bound to it: beside its own rights it has theirs, each with that device's name. It speaks for no
device that is blocked, nor for those behind another gateway.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker.auth.identity import Authority, Certificate, Credential, Identity, Password
from broker.auth.principal import Grant, Principal, PrincipalKind, Rights
from broker.registry.names import check_client_id_prefix, check_credential_id, check_name
from broker.registry.roles import STANDARD_ROLES, Role

MAXIMUM_METADATA_BYTES = 65_536
"""Of one device or service, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A device or service as it is kept.

    Attributes:
      client_id_prefix: a service's; a device's client identifier is its name. Every identifier
        begins with an empty one, so who has it is alone in the registry.
      metadata: what JSON can hold, for people and programs; the broker doesn't read it.
      gateways: names of the devices that may speak for this device, sorted.
      credentials: sorted by their id.
    """

    name: str
    kind: PrincipalKind = PrincipalKind.DEVICE
    role: str = "device"
    client_id_prefix: str | None = None
    blocked: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        if (self.kind is PrincipalKind.SERVICE) != (self.client_id_prefix is not None):
            raise ValueError(f"{self.name!r}: services have a client_id_prefix, devices have none")
        if self.client_id_prefix is not None:
            check_client_id_prefix(self.client_id_prefix)
        if self.gateways and self.kind is PrincipalKind.SERVICE:
            raise ValueError(f"{self.name!r}: only devices are bound to gateways")
        if self.name in self.gateways:
            raise ValueError(f"{self.name!r} can't be its own gateway")
        _check_metadata(self.metadata)
        for credential in self.credentials:
            check_credential(credential)
        object.__setattr__(self, "gateways", tuple(sorted(set(self.gateways))))
        by_id = sorted(self.credentials, key=lambda credential: credential.id)
        object.__setattr__(self, "credentials", tuple(by_id))

    @property
    def client_id(self) -> str:
        """A device's client identifier, or the prefix of a service's."""
        return self.name if self.client_id_prefix is None else self.client_id_prefix

    def identity(
        self, rights: Mapping[str, Rights], speaks_for: Iterable[tuple[str, str]] = ()
    ) -> Identity:
        """Who this is as a client; see ``principal_of``."""
        principal = principal_of(
            self.name, self.kind, self.client_id, self.role, rights, speaks_for=speaks_for
        )
        return Identity(principal=principal, blocked=self.blocked, credentials=self.credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All of a registry, by name.

    ``roles``: those beside or in place of STANDARD_ROLES. ``password_formats``: in which passwords
    that are set are hashed beside argon2id (``broker.auth.password_formats``).
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    authorities: Mapping[str, Authority] = field(default_factory=dict)
    password_formats: frozenset[str] = frozenset()

    @property
    def all_roles(self) -> dict[str, Role]:
        """The standard roles too."""
        return {**STANDARD_ROLES, **self.roles}

    def speaks_for(self) -> dict[str, list[tuple[str, str]]]:
        """Of each gateway, the devices that it speaks for, with their roles."""
        found: dict[str, list[tuple[str, str]]] = {}
        for entry in self.entries.values():
            for gateway in () if entry.blocked else entry.gateways:
                found.setdefault(gateway, []).append((entry.name, entry.role))
        return found


def principal_of(
    name: str,
    kind: PrincipalKind,
    client_id: str,
    role: str,
    rights: Mapping[str, Rights],
    *,
    speaks_for: Iterable[tuple[str, str]] = (),
) -> Principal:
    """Whom a device or service is as a client.

    ``rights``: those of all roles. ``speaks_for``: of a gateway, its devices that are not blocked,
    with their roles.

    Raises:
      ValueError: a service's role is one that only devices may have.
    """
    is_device = kind is PrincipalKind.DEVICE
    if not is_device and rights[role].for_devices_only:
        raise ValueError(f"{name!r}: its role uses '%device', which only a device has")
    own = Grant(role=role, rights=rights[role], device=name if is_device else None)
    others = [Grant(role=held, rights=rights[held], device=device) for device, held in speaks_for]
    return Principal(name=name, kind=kind, client_id=client_id, grants=(own, *others))


def only_in(formats: frozenset[str], entry: Entry) -> Entry:
    """The entry without hashes of its passwords in any other format."""
    if not any(_formats(each) - formats for each in entry.credentials):
        return entry
    return replace(
        entry,
        credentials=tuple(
            replace(each, others=tuple(one for one in each.others if one.format in formats))
            if isinstance(each, Password)
            else each
            for each in entry.credentials
        ),
    )


def _formats(credential: Credential) -> set[str]:
    if not isinstance(credential, Password):
        return set()
    return {each.format for each in credential.others}


def key_of(entry: Entry) -> str:
    """Where an entry stands: ``devices.NAME`` or ``services.NAME``."""
    return f"{entry.kind.value}s.{entry.name}"


def contradictions(content: Content) -> Iterator[tuple[str, str]]:
    """What does not fit together: the key, and what is wrong there."""
    roles = content.all_roles
    owners: dict[str, str] = {}
    fingerprints: dict[bytes, str] = {}
    for entry in content.entries.values():
        key = key_of(entry)
        yield from ((f"{key}.role", words) for words in wrong_role(entry, roles))
        for gateway in entry.gateways:
            known = content.entries.get(gateway)
            if known is None or known.kind is not PrincipalKind.DEVICE:
                yield f"{key}.gateways", f"there is no device {gateway!r}"
        for credential in entry.credentials:
            other = owners.setdefault(credential.id, entry.name)
            if other != entry.name or _count(entry, credential.id) > 1:
                yield f"{key}.credentials", f"id {credential.id!r} is taken, by one of {other!r}"
                return
            for name in sorted(_formats(credential) - content.password_formats):
                yield (
                    f"{key}.credentials",
                    f"{credential.id!r} has a hash for {name}, which is none of password_formats",
                )
            if isinstance(credential, Certificate):
                other = fingerprints.setdefault(credential.fingerprint, credential.id)
                if other != credential.id:
                    yield f"{key}.credentials", f"{credential.id!r} is the certificate {other!r}"
    yield from _shared_client_ids(content.entries.values())


def wrong_role(entry: Entry, roles: Mapping[str, Role]) -> Iterator[str]:
    """What is wrong with an entry's role, if anything is."""
    role = roles.get(entry.role)
    if role is None:
        yield f"is {entry.role!r}; the roles are: {', '.join(sorted(roles))}"
    elif entry.kind is PrincipalKind.SERVICE and role.for_devices_only:
        yield f"is {entry.role!r}, which uses '%device', which only a device has"


def check_credential(credential: Credential) -> None:
    """What every kind of credential must keep. Raises ValueError."""
    check_credential_id(credential.id)
    for bound in (credential.validity.not_before, credential.validity.not_after):
        if bound is not None and bound != int(bound):
            raise ValueError(f"credential {credential.id!r}: a validity is in whole seconds")


def _count(entry: Entry, identifier: str) -> int:
    return sum(credential.id == identifier for credential in entry.credentials)


def _shared_client_ids(entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """A client id belongs to one: no prefix may hold a device or another prefix."""
    entries = list(entries)
    for service in entries:
        if service.kind is PrincipalKind.DEVICE:
            continue
        for other in entries:
            if other is not service and other.client_id.startswith(service.client_id):
                yield (
                    f"{key_of(service)}.client_id_prefix",
                    f"{service.client_id!r} also holds {other.client_id!r} of"
                    f" {other.kind.value} {other.name!r}; choose another prefix",
                )


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if metadata == {}:
        return
    try:
        text = json.dumps(metadata, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        is_same = json.loads(text) == metadata
    except (TypeError, ValueError) as problem:
        raise ValueError(f"metadata must be what JSON can hold: {problem}") from problem
    if not is_same:
        raise ValueError("metadata must be what JSON can hold: texts as keys, lists, no tuples")
    if size > MAXIMUM_METADATA_BYTES:
        raise ValueError(f"metadata has {size} bytes; at most {MAXIMUM_METADATA_BYTES} are kept")
