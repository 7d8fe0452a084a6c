"""The directory of a registry that is all in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from broker.auth.identity import (
    Authority,
    Certificate,
    DirectoryChanges,
    Identity,
    Password,
    Standing,
)
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import Rights
from broker.registry.entries import Content, Entry


class ContentDirectory:
    """The ``Directory`` of a ``Content`` that never changes; without one it knows nobody."""

    def __init__(self, content: Content = Content()) -> None:  # noqa: B008  # frozen
        self._content = content
        self._rights = {name: role.rights for name, role in content.all_roles.items()}
        self._speaks_for = content.speaks_for()
        self._identities: dict[str, Identity] = {}
        self._certificates = {
            credential.fingerprint: entry.name
            for entry in content.entries.values()
            for credential in entry.credentials
            if isinstance(credential, Certificate)
        }
        self._hashes = distinct_hashes(
            credential.hash
            for entry in content.entries.values()
            for credential in entry.credentials
            if isinstance(credential, Password)
        )

    def find(self, name: str) -> Identity | None:
        """Who bears the name."""
        found = self._identities.get(name)
        if found is None and (entry := self._content.entries.get(name)) is not None:
            found = entry.identity(self._rights, self._speaks_for.get(name, ()))
            self._identities[name] = found
        return found

    def standings(self, names: Sequence[str]) -> Mapping[str, Standing]:
        """What logins of those of the names rest on that somebody bears."""
        found = {name: self.find(name) for name in names}
        return {name: identity.standing for name, identity in found.items() if identity is not None}

    def count(self) -> int:
        """How many devices and services there are."""
        return len(self._content.entries)

    def unknown(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the names that nobody bears; none of an empty registry."""
        known = self._content.entries.keys()
        return frozenset(names) - known if known else frozenset()

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        """Whose certificate that is."""
        name = self._certificates.get(fingerprint)
        return None if name is None else self.find(name)

    def rights(self) -> Mapping[str, Rights]:
        """Those of all roles, by name."""
        return self._rights

    def authorities(self) -> Sequence[Authority]:
        """All CAs."""
        return tuple(self._content.authorities.values())

    def password_hashes(self) -> Sequence[PasswordHash]:
        """A hash for each set of argon2id parameters in use."""
        return self._hashes

    def most_passwords(self, now: float) -> int:
        """How many passwords that have not ended one has at most, for decoys."""
        return max((_passwords(entry, now) for entry in self._content.entries.values()), default=0)

    def changes(self, since: int) -> DirectoryChanges:
        """Never any."""
        return DirectoryChanges(version=since)

    def close(self) -> None:
        """Nothing is held open."""


def _passwords(entry: Entry, now: float) -> int:
    return sum(
        isinstance(each, Password)
        and (each.validity.not_after is None or each.validity.not_after > now)
        for each in entry.credentials
    )


def distinct_hashes(hashes: Iterable[PasswordHash]) -> tuple[PasswordHash, ...]:
    """The first hash of each set of argon2id parameters."""
    found: dict[str, PasswordHash] = {}
    for each in hashes:
        found.setdefault(hash_settings(each), each)
    return tuple(found.values())


def hash_settings(stored: PasswordHash) -> str:
    """What makes one hash as slow to verify as another: its parameters and lengths."""
    settings, salt, digest = stored.encoded.rsplit("$", 2)
    return f"{settings}${len(salt)}${len(digest)}"
