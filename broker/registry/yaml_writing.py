"""What a registry holds, to the text of a registry file: read again it is the same."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import yaml

from broker.auth.identity import Authority
from broker.auth.principal import PrincipalKind
from broker.registry.entries import Content, Entry
from broker.registry.roles import Patterns, Role
from broker.registry.yaml_credentials import credential_values, validity_values
from broker.registry.yaml_reading import VERSION


def content_text(content: Content) -> str:
    """The YAML text. It has hashes and public keys, and no password."""
    values: dict[str, Any] = {
        "version": VERSION,
        "password_formats": sorted(content.password_formats),
    }
    values["roles"] = {name: _role(role) for name, role in content.roles.items()}
    for kind in PrincipalKind:
        values[f"{kind.value}s"] = {
            name: _entry(entry) for name, entry in content.entries.items() if entry.kind is kind
        }
    values["authorities"] = {name: _authority(each) for name, each in content.authorities.items()}
    return yaml_text({key: value for key, value in values.items() if value})


def yaml_text(values: dict[str, Any]) -> str:
    """Values as YAML, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600, replacing what is there at once or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:  # whatever it was, nothing half-written stays; raised again
        temporary.unlink(missing_ok=True)
        raise


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Two entries with the same list are written twice: people will edit one of them."""
        return True


def _role(role: Role) -> dict[str, Any]:
    parts = {"publish": role.publish, "subscribe": role.subscribe, "will": role.will}
    return {name: _patterns(part) for name, part in parts.items() if part != Patterns()}


def _patterns(patterns: Patterns) -> dict[str, list[str]]:
    parts = {"allow": patterns.allow, "deny": patterns.deny}
    return {name: list(part) for name, part in parts.items() if part}


def _entry(entry: Entry) -> dict[str, Any]:
    values: dict[str, Any] = {"role": entry.role}
    if entry.client_id_prefix is not None:
        values["client_id_prefix"] = entry.client_id_prefix
    if entry.blocked:
        values["blocked"] = True
    if entry.metadata:
        values["metadata"] = entry.metadata
    if entry.gateways:
        values["gateways"] = list(entry.gateways)
    values["credentials"] = [credential_values(each) for each in entry.credentials]
    return values


def _authority(authority: Authority) -> dict[str, Any]:
    values: dict[str, Any] = {
        "pem": authority.pem,
        "name_from": authority.name_from.value,
        "pattern": authority.pattern,
    }
    if authority.revocation_list is not None:
        values["revocation_list"] = authority.revocation_list
    return values | validity_values(authority.validity)
