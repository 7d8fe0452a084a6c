"""A registry file's text to what a registry holds. The form is told in ``yaml_registry``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from broker.auth.identity import Authority, Credential, NameFrom
from broker.auth.password_formats import format_named
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
from broker.registry.yaml_splitting import ReadEntries
from broker.yaml_file import Section

Made = TypeVar("Made")

VERSION = 1

TOLD_AT_ONCE = 20
"""Problems of one file; a wrong template of a thousand devices is told of no more often."""


def read_content(
    path: Path,
    secrets: Secrets,
    before: ReadEntries | None = None,
    *,
    more_formats: Iterable[str] = (),
) -> Content:
    """Reads and checks a whole registry file.

    ``before``: what was read of it earlier; entries whose text is the same are taken from there.
    ``more_formats``: in which clear passwords are hashed, too, beside the file's own
    ``password_formats``.

    Raises:
      RegistryError: naming the file, the entry and what would be right, a line for each problem.
    """
    read = before or ReadEntries()
    top = Section.load(path, RegistryError, parse=read.parse)
    version = top.take("version", int)
    if version != VERSION:
        raise top.fail("version", f"is {version}; this program reads version {VERSION}")
    none: frozenset[str] = frozenset()
    formats = top.attempt(lambda: frozenset(_formats(top)), none)
    secrets.formats = formats.union(more_formats)
    entries: dict[str, Entry] = {}
    roles = _each(top, "roles", _role)
    for kind in PrincipalKind:
        entries |= _entries(top, kind, frozenset(entries), secrets, read)
    authorities = _each(top, "authorities", partial(_authority, secrets=secrets))
    top.attempt(top.finish, None)
    content = Content(
        entries=entries, roles=roles, authorities=authorities, password_formats=secrets.formats
    )
    problems = top.complaints or [
        str(top.fail(key, words)) for key, words in contradictions(content)
    ]
    if problems:
        more = len(problems) - TOLD_AT_ONCE
        lines = problems[:TOLD_AT_ONCE] + ([f"{path}: {more} more problems"] if more > 0 else [])
        raise RegistryError("\n".join(lines))
    read.settle()
    return replace(content, password_formats=formats)


def _formats(top: Section) -> Iterator[str]:
    for index, name in enumerate(top.texts("password_formats")):
        yield top.build(f"password_formats[{index}]", partial(format_named, name)).name


class _Named:
    def __init__(self, parent: Section, name: str) -> None:
        parent.build(name, partial(check_name, name))
        self.name = name
        self.parent = parent
        self.section = parent.section(name)


def _each(top: Section, key: str, read: Callable[[Section, str], Made]) -> dict[str, Made]:
    """What is right under the key, by name; what is wrong is among the complaints."""
    made: dict[str, Made] = {}
    section = top.attempt(lambda: top.section(key), None)
    for name in section.names() if section is not None else ():
        assert section is not None
        found = top.attempt(partial(read, section, name), None)
        if found is not None:
            made[name] = found
    return made


def _entries(
    top: Section, kind: PrincipalKind, others: frozenset[str], secrets: Secrets, read: ReadEntries
) -> dict[str, Entry]:
    key = f"{kind.value}s"

    def entry(section: Section, name: str) -> Entry:
        if name in others:
            raise section.fail(name, "a device has the same name; user names are unique")
        uses = secrets.uses
        found = read.known(key, name)
        if found is None:
            found = _entry(_Named(section, name), kind=kind, secrets=secrets)
        if secrets.uses == uses:
            read.keep(key, found)
        return found

    return _each(top, key, entry)


def _entry(found: _Named, *, kind: PrincipalKind, secrets: Secrets) -> Entry:
    section = found.section
    is_device = kind is PrincipalKind.DEVICE
    role = section.take("role", str, "device" if is_device else None)
    prefix = None
    if not is_device:
        prefix = section.take("client_id_prefix", str)
        section.build("client_id_prefix", partial(check_client_id_prefix, prefix))
    blocked = section.take("blocked", bool, False)
    metadata = section.take("metadata", dict, {})
    if metadata:
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
        # A mistyped key is told by its own name.
        section.finish()
        raise section.fail(
            "password_hash",
            f"give exactly one of {', '.join(PASSWORD_KEYS)}, or a list of credentials, which is"
            " empty where an authority's certificates are all that it has",
        )
    if password is not None:
        yield password
    for each in section.sections("credentials"):
        yield read_credential(each, owner, secrets)


def _role(parent: Section, name: str) -> Role:
    section = _Named(parent, name).section
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


def _authority(parent: Section, name: str, *, secrets: Secrets) -> Authority:
    section = _Named(parent, name).section
    text = secrets.inline_or_file(section, "pem", pem.check_authority)
    name_from = section.take("name_from", str, NameFrom.COMMON_NAME.value)
    known = {item.value: item for item in NameFrom}
    if name_from not in known:
        raise section.fail("name_from", f"is {name_from!r}; it must be one of: {', '.join(known)}")
    pattern = section.take("pattern", str, "{name}")
    has_list = "revocation_list" in section or "revocation_list_file" in section
    revoked = None
    if has_list:
        check = partial(pem.check_revocation_list, text)
        revoked = secrets.inline_or_file(section, "revocation_list", check)
    validity = read_validity(section)
    if not has_list:
        for key in ("revocation_list", "revocation_list_file"):
            section.take_optional(key, str)
    section.finish()
    return section.build(
        "pattern",
        lambda: Authority(
            id=name,
            validity=validity,
            pem=text,
            name_from=known[name_from],
            pattern=pattern,
            revocation_list=revoked,
        ),
    )
