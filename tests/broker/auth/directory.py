"""A directory in memory, and people to put into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import argon2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.auth.identity import (
    Authority,
    Certificate,
    Credential,
    DirectoryChanges,
    Identity,
    Password,
    Standing,
    Validity,
)
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import Grant, Principal, PrincipalKind, Rights

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
NOW = 1_800_000_000.0


class Names:
    """The ``Directory`` of the identities that it is given."""

    def __init__(self, *identities: Identity, authorities: Sequence[Authority] = ()) -> None:
        self.identities = {each.principal.name: each for each in identities}
        self._authorities = authorities

    def find(self, name: str) -> Identity | None:
        return self.identities.get(name)

    def standings(self, names: Sequence[str]) -> Mapping[str, Standing]:
        found = {name: self.identities[name] for name in names if name in self.identities}
        return {name: identity.standing for name, identity in found.items()}

    def unknown(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset(names) - self.identities.keys()

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        for identity in self.identities.values():
            for credential in identity.credentials:
                if isinstance(credential, Certificate) and credential.fingerprint == fingerprint:
                    return identity
        return None

    def rights(self) -> Mapping[str, Rights]:
        return {}

    def authorities(self) -> Sequence[Authority]:
        return self._authorities

    def password_hashes(self) -> Sequence[PasswordHash]:
        return [
            credential.hash
            for identity in self.identities.values()
            for credential in identity.credentials
            if isinstance(credential, Password)
        ]

    def most_passwords(self, now: float) -> int:
        return max(
            sum(isinstance(credential, Password) for credential in identity.credentials)
            for identity in self.identities.values()
        )

    def close(self) -> None:
        """Nothing is held open."""

    def changes(self, since: int) -> DirectoryChanges:
        return DirectoryChanges(version=since)


def identity(
    name: str, *credentials: Credential, blocked: bool = False, role: str = "device"
) -> Identity:
    grants = (Grant(role=role, rights=Rights(), device=name),)
    principal = Principal(name=name, kind=PrincipalKind.DEVICE, client_id=name, grants=grants)
    return Identity(principal=principal, blocked=blocked, credentials=credentials)


def password(
    text: str,
    *,
    id: str = "p1",
    validity: Validity | None = None,
    hasher: argon2.PasswordHasher = CHEAP,
) -> Password:
    return Password(
        id=id, validity=validity or Validity(), hash=PasswordHash.of(text, hasher=hasher)
    )


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
