"""A registry file with generated passwords, for a local run.

A generated password has 192 random bits: no amount of hashing makes it harder to guess, so its
argon2id hash is made at the lowest cost and hundreds of devices take milliseconds. A password that
a person chose must never be hashed so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import argon2
import yaml

from broker.auth.passwords import PasswordHash
from broker.registry.yaml_registry import VERSION, check_name

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
        check_name(self.client_id_prefix)


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
    text = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
    return secrets_by_name
