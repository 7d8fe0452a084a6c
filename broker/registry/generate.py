"""A registry file with generated passwords, for a local run.

A generated password has 192 random bits: no amount of hashing makes it harder to guess, so its
argon2id hash is made at the lowest cost and hundreds of devices take milliseconds. A password that
a person chose must never be hashed so.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import argon2

from broker.auth.password_hash import PasswordHash
from broker.registry.names import check_client_id_prefix, check_name
from broker.registry.yaml_reading import VERSION
from broker.registry.yaml_writing import write_private, yaml_text

_PASSWORD_BYTES = 24
_FOR_RANDOM_PASSWORDS = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to write: its user name, one of the standard roles, its client ids' prefix."""

    name: str
    role: str
    client_id_prefix: str

    def __post_init__(self) -> None:
        check_name(self.name)
        check_client_id_prefix(self.client_id_prefix)


def generate(
    path: Path, *, devices: Iterable[str], services: Iterable[Service] = ()
) -> dict[str, str]:
    """Writes a registry file (mode 0600, replacing what is there at once or not at all).

    Returns the passwords by user name; they are written nowhere.
    """
    secrets_by_name: dict[str, str] = {}

    def new_hash(name: str) -> str:
        if name in secrets_by_name:
            raise ValueError(f"{name!r} is given twice; user names are unique")
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        secrets_by_name[check_name(name)] = password
        return PasswordHash.of(password, hasher=_FOR_RANDOM_PASSWORDS).encoded

    content = {
        "version": VERSION,
        "devices": {name: {"password_hash": new_hash(name)} for name in devices},
        "services": {
            service.name: {
                "role": service.role,
                "client_id_prefix": service.client_id_prefix,
                "password_hash": new_hash(service.name),
            }
            for service in services
        },
    }
    write_private(path, yaml_text(content))
    return secrets_by_name
