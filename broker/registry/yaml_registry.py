"""The device registry as a YAML file.

::

    version: 1
    roles:                              # STANDARD_ROLES are there without being written
      meter:
        publish: {allow: ["devices/%device/telemetry/#"], deny: ["devices/%device/telemetry/raw"]}
        subscribe: {allow: ["devices/%device/commands/#"]}
        will: {allow: ["devices/%device/state"]}    # without it no will is allowed
    devices:
      meter-7:                          # user name and client id are both the device's id
        role: meter                     # default: device
        password_hash: $argon2id$v=19$…
    services:
      warehouse:                        # the user name
        role: telemetry-pipeline
        client_id_prefix: warehouse-    # all client ids under it, and no others
        password_env: WAREHOUSE_PASSWORD

A password is given as exactly one of ``password_hash`` (argon2id), ``password_file`` (a path, from
the registry's folder; its text without the final newline is the password) or ``password_env`` (an
environment variable). A clear password in the file itself is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import argon2

from broker.auth.passwords import Account, PasswordHash
from broker.auth.principal import Principal, PrincipalKind
from broker.errors import RegistryError
from broker.registry.roles import STANDARD_ROLES, Patterns, Role
from broker.yaml_file import Section, checked_path

VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@=-]{0,127}")
_NAME_RULE = "1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ = - that begin with a letter or digit"

_CREDENTIALS = ("password_hash", "password_file", "password_env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everyone who may connect, by user name."""

    accounts: Mapping[str, Account]


def check_name(name: str) -> str:
    """Returns a device id or service name that is legal everywhere it goes, else ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} must be {_NAME_RULE}")
    return name


def load_registry(path: Path, *, environment: Mapping[str, str] = os.environ) -> Registry:
    """Reads and checks a whole registry file.

    Raises:
      RegistryError: naming the file, the entry and what would be right.
    """
    top = Section.load(path, RegistryError)
    version = top.take("version", int)
    if version != VERSION:
        raise top.fail("version", f"is {version}; this program reads version {VERSION}")
    roles = _roles(top.section("roles"))
    reader = _Reader(path.parent, roles, environment)
    accounts = reader.devices(top.section("devices"))
    services = reader.services(top.section("services"))
    top.finish()
    for name in services.keys() & accounts.keys():
        raise top.fail(f"services.{name}", "a device has the same name; user names are unique")
    accounts |= services
    _check_client_ids(top, accounts)
    return Registry(accounts=accounts)


class _Reader:
    def __init__(
        self, folder: Path, roles: Mapping[str, Role], environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._roles = roles
        self._environment = environment

    def devices(self, section: Section) -> dict[str, Account]:
        accounts = {}
        for name in section.names():
            entry = section.section(name)
            section.build(name, partial(check_name, name))
            role = self._role(entry, entry.take("role", str, "device"))
            principal = Principal(
                name=name,
                kind=PrincipalKind.DEVICE,
                client_id=name,
                rights=role.rights(name),
            )
            accounts[name] = Account(principal=principal, password=self._password(entry))
            entry.finish()
        return accounts

    def services(self, section: Section) -> dict[str, Account]:
        accounts = {}
        for name in section.names():
            entry = section.section(name)
            section.build(name, partial(check_name, name))
            role = self._role(entry, entry.take("role", str))
            prefix = entry.take("client_id_prefix", str)
            entry.build("client_id_prefix", partial(check_name, prefix))
            rights = entry.build("role", partial(role.rights, None))
            principal = Principal(
                name=name, kind=PrincipalKind.SERVICE, client_id=prefix, rights=rights
            )
            accounts[name] = Account(principal=principal, password=self._password(entry))
            entry.finish()
        return accounts

    def _role(self, entry: Section, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            known = ", ".join(sorted(self._roles))
            raise entry.fail("role", f"is {name!r}; the roles are: {known}")
        return role

    def _password(self, entry: Section) -> PasswordHash:
        if "password" in entry:
            raise entry.fail(
                "password",
                f"a clear password is not taken here; give one of {', '.join(_CREDENTIALS)}",
            )
        given = {key: entry.take_optional(key, str) for key in _CREDENTIALS}
        chosen = [key for key, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise entry.fail(
                "password_hash", f"give exactly one of {', '.join(_CREDENTIALS)}, not {len(chosen)}"
            )
        key = chosen[0]
        value = given[key]
        assert value is not None
        if key == "password_hash":
            return entry.build(key, lambda: PasswordHash(encoded=value))
        if key == "password_env":
            password = self._environment.get(value)
            if password is None:
                raise entry.fail(key, f"the environment has no variable {value!r}")
        else:
            path = entry.build(key, partial(checked_path, self._folder, value))
            try:
                password = path.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as problem:
                raise entry.fail(key, f"{value!r} cannot be read: {problem}") from problem
        if not password:
            raise entry.fail(key, "the password is empty")
        return PasswordHash.of(password, hasher=argon2.PasswordHasher())


def _roles(section: Section) -> dict[str, Role]:
    roles = dict(STANDARD_ROLES)
    for name in section.names():
        entry = section.section(name)
        roles[name] = Role(
            publish=_patterns(entry, "publish"),
            subscribe=_patterns(entry, "subscribe"),
            will=_patterns(entry, "will"),
        )
        entry.finish()
    return roles


def _patterns(role: Section, key: str) -> Patterns:
    entry = role.section(key)
    allow, deny = tuple(entry.texts("allow")), tuple(entry.texts("deny"))
    entry.finish()
    return role.build(key, lambda: Patterns(allow=allow, deny=deny))


def _check_client_ids(top: Section, accounts: Mapping[str, Account]) -> None:
    """A client id belongs to one principal: no prefix may hold a device or another prefix."""
    principals = [account.principal for account in accounts.values()]
    services = [item for item in principals if item.kind is PrincipalKind.SERVICE]
    for service in services:
        for other in principals:
            if other is not service and other.client_id.startswith(service.client_id):
                raise top.fail(
                    f"services.{service.name}.client_id_prefix",
                    f"{service.client_id!r} also holds {other.client_id!r} of"
                    f" {other.kind.value} {other.name!r}; choose another prefix",
                )
