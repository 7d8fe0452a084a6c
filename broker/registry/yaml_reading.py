"""A registry file's text to what a registry holds. The form is told in ``yaml_registry``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from broker.auth.identity import Authority, Credential, NameFrom
from broker.auth.principal import PrincipalKind
from broker.errors import RegistryError
from broker.registry import pem
from broker.registry.entries import Content, Entry, contradictions
from broker.registry.names import check_client_id_prefix, check_name
from broker.registry.roles import Patterns, Role
from broker.registry.yaml_credentials import (
    PASSWORD_KEYS,
    read_credential,
    read_password,
    read_validity,
)
from broker.registry.yaml_secrets import Secrets
from broker.yaml_file import Section

VERSION = 1


def read_content(path: Path, secrets: Secrets) -> Content:
    """Reads and checks a whole registry file.

    Raises:
      RegistryError: naming the file, the entry and what would be right.
    """
    top = Section.load(path, RegistryError)
    version = top.take("version", int)
    if version != VERSION:
        raise top.fail("version", f"is {version}; this program reads version {VERSION}")
    roles = {role.name: _role(role.section) for role in _named(top, "roles")}
    entries = {}
    for kind in PrincipalKind:
        for found in _named(top, f"{kind.value}s"):
            if found.name in entries:
                key = f"{kind.value}s.{found.name}"
                raise top.fail(key, "a device has the same name; user names are unique")
            entries[found.name] = _entry(found, kind, secrets)
    authorities = {found.name: _authority(found, secrets) for found in _named(top, "authorities")}
    top.finish()
    content = Content(entries=entries, roles=roles, authorities=authorities)
    for key, words in contradictions(content):
        raise top.fail(key, words)
    return content


class _Named:
    def __init__(self, parent: Section, name: str) -> None:
        parent.build(name, partial(check_name, name))
        self.name = name
        self.parent = parent
        self.section = parent.section(name)


def _named(top: Section, key: str) -> Iterator[_Named]:
    section = top.section(key)
    for name in section.names():
        yield _Named(section, name)


def _entry(found: _Named, kind: PrincipalKind, secrets: Secrets) -> Entry:
    section = found.section
    is_device = kind is PrincipalKind.DEVICE
    role = section.take("role", str, "device" if is_device else None)
    prefix = None
    if not is_device:
        prefix = section.take("client_id_prefix", str)
        section.build("client_id_prefix", partial(check_client_id_prefix, prefix))
    blocked = section.take("blocked", bool, False)
    metadata = section.take("metadata", dict, {})
    section.build("metadata", lambda: Entry(name="any", metadata=metadata))
    gateways = tuple(section.texts("gateways")) if is_device else ()
    credentials = tuple(_credentials(section, found.name, secrets))
    section.finish()
    return found.parent.build(
        found.name,
        lambda: Entry(
            name=found.name,
            kind=kind,
            role=role,
            client_id_prefix=prefix,
            blocked=blocked,
            metadata=metadata,
            gateways=gateways,
            credentials=credentials,
        ),
    )


def _credentials(section: Section, owner: str, secrets: Secrets) -> Iterator[Credential]:
    has_list = "credentials" in section
    password = read_password(section, owner, secrets)
    if password is None and not has_list:
        raise section.fail(
            "password_hash",
            f"give exactly one of {', '.join(PASSWORD_KEYS)}, or a list of credentials, which is"
            " empty where an authority's certificates are all that it has",
        )
    if password is not None:
        yield password
    for each in section.sections("credentials"):
        yield read_credential(each, owner, secrets)


def _role(section: Section) -> Role:
    role = Role(
        publish=_patterns(section, "publish"),
        subscribe=_patterns(section, "subscribe"),
        will=_patterns(section, "will"),
    )
    section.finish()
    return role


def _patterns(role: Section, key: str) -> Patterns:
    entry = role.section(key)
    allow, deny = tuple(entry.texts("allow")), tuple(entry.texts("deny"))
    entry.finish()
    return role.build(key, lambda: Patterns(allow=allow, deny=deny))


def _authority(found: _Named, secrets: Secrets) -> Authority:
    section = found.section
    text = secrets.inline_or_file(section, "pem", pem.check_authority)
    name_from = section.take("name_from", str, NameFrom.COMMON_NAME.value)
    known = {item.value: item for item in NameFrom}
    if name_from not in known:
        raise section.fail("name_from", f"is {name_from!r}; it must be one of: {', '.join(known)}")
    pattern = section.take("pattern", str, "{name}")
    has_list = "revocation_list" in section or "revocation_list_file" in section
    revoked = None
    if has_list:
        revoked = secrets.inline_or_file(section, "revocation_list", pem.check_revocation_list)
    validity = read_validity(section)
    if not has_list:
        for key in ("revocation_list", "revocation_list_file"):
            section.take_optional(key, str)
    section.finish()
    return section.build(
        "pattern",
        lambda: Authority(
            id=found.name,
            validity=validity,
            pem=text,
            name_from=known[name_from],
            pattern=pattern,
            revocation_list=revoked,
        ),
    )
