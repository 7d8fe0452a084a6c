"""The directory of a broker without a registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.auth.identity import Authority, DirectoryChanges, Identity
from broker.auth.password_hash import PasswordHash


class NobodyDirectory:
    """Knows nobody, for good."""

    def find(self, name: str) -> Identity | None:
        """Nobody bears any name."""
        return None

    def find_many(self, names: Sequence[str]) -> Mapping[str, Identity]:
        """The same."""
        return {}

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        """Nobody has a certificate."""
        return None

    def authorities(self) -> Sequence[Authority]:
        """None."""
        return ()

    def password_hashes(self) -> Sequence[PasswordHash]:
        """None."""
        return ()

    def changes(self, since: int) -> DirectoryChanges:
        """Never any."""
        return DirectoryChanges(version=since, names=frozenset())

    def close(self) -> None:
        """Nothing is held open."""
