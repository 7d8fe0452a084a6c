"""What a registry file refers to: other files, variables of the environment, clear passwords.

A clear password is hashed once in a process (argon2id is slow on purpose), so that a file that is
read again has the same hashes. Between readings a keyed digest of it is remembered, not itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import argon2

from broker.auth.password_formats import OtherHash, hashed_in
from broker.auth.password_hash import PasswordHash
from broker.yaml_file import Section, checked_path

Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class Secrets:
    """Reads for the registry files of one folder.

    ``files``: every file that was read, with what it was like just before. ``uses``: how many times
    something outside of the registry's file was asked for. ``formats``: those in which a clear
    password is hashed beside argon2id.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.files: dict[Path, Stamp | None] = {}
        self.uses = 0
        self.formats: frozenset[str] = frozenset()
        self._folder = folder
        self._environment = environment
        self._key = secrets.token_bytes(32)
        self._hashes: dict[bytes, PasswordHash] = {}
        self._others: dict[tuple[bytes, str], OtherHash] = {}

    def text(self, entry: Section, key: str, name: str) -> str:
        """The text of the file that ``key`` names."""
        self.uses += 1
        path = entry.build(key, partial(checked_path, self._folder, name))
        self.files[path] = stamp(path)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise entry.fail(key, f"{name!r} cannot be read: {problem}") from problem

    def variable(self, entry: Section, key: str, name: str) -> str:
        """The value of the environment's variable that ``key`` names."""
        self.uses += 1
        value = self._environment.get(name)
        if value is None:
            raise entry.fail(key, f"the environment has no variable {name!r}")
        return value

    def inline_or_file(self, entry: Section, key: str, check: Callable[[str], str]) -> str:
        """The text under ``key``, or of the file under ``key`` with ``_file`` behind it."""
        inline, file = entry.take_optional(key, str), entry.take_optional(f"{key}_file", str)
        if (inline is None) == (file is None):
            raise entry.fail(key, f"give exactly one of {key} and {key}_file")
        if file is not None:
            inline, key = self.text(entry, f"{key}_file", file), f"{key}_file"
        assert inline is not None
        return entry.build(key, partial(check, inline))

    def hash_of(self, entry: Section, key: str, password: str) -> PasswordHash:
        """The hash of a clear password."""
        if not password:
            raise entry.fail(key, "the password is empty")
        digest = self._digest(password)
        if digest not in self._hashes:
            self._hashes[digest] = PasswordHash.of(password, hasher=argon2.PasswordHasher())
        return self._hashes[digest]

    def others_of(self, password: str) -> tuple[OtherHash, ...]:
        """The hashes of a clear password in the chosen formats."""
        digest = self._digest(password)
        new = [name for name in self.formats if (digest, name) not in self._others]
        for made in hashed_in(new, password):
            self._others[digest, made.format] = made
        return tuple(self._others[digest, name] for name in self.formats)

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode(), hashlib.sha256)
