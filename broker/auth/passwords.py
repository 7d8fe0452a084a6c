"""Passwords: argon2id hashes, and the cheap proof that one was right before.

Verifying argon2id is meant to be slow, so it runs in a thread, and once a password was right a
keyed digest of it is remembered (HMAC-SHA-256 under a key that lives and dies with the process):
a device that reconnects costs microseconds.

Whatever is wrong is verified against as many hashes as anybody has passwords: two while one of them
replaces another somewhere. What a name lacks of them are hashes that nobody knows the password of,
with the parameters of one of the real ones. So neither the answer nor the time tells whether the
name is known.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import NamedTuple

import argon2

from broker.auth.identity import (
    Directory,
    DirectoryChanges,
    Identity,
    Login,
    Password,
    Tell,
    lacking,
    untold,
)
from broker.auth.password_hash import PasswordHash

MAXIMUM_PASSWORD_BYTES = 1_024
"""A longer one is wrong without a look: argon2 reads all that it is given."""

_MOST_PASSWORDS = 4
"""Of one name, those that hold since last are tried: so what a wrong one costs is bounded."""


class _Proved(NamedTuple):
    digest: bytes
    login: Login


class _Decoys(NamedTuple):
    """``most``: how many passwords one has at most."""

    hashes: Sequence[PasswordHash]
    most: int


class PasswordAuthenticator:
    """User name and password to a ``Login``. Times are seconds since the epoch.

    ``remembered`` is for the event loop; ``verify`` is slow and safe to call from any thread.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._key = secrets.token_bytes(32)
        self._proved: dict[str, _Proved] = {}
        self._decoys: _Decoys | None = None
        self._generation = 0

    def remembered(self, username: str | None, password: bytes | None, now: float) -> Login | None:
        """What these proved before, if they did; None says nothing else."""
        if username is None or password is None:
            return None
        proved = self._proved.get(username)
        if proved is None or not hmac.compare_digest(
            proved.digest, self._digest(username, password)
        ):
            return None
        until = proved.login.until
        return proved.login if until is None or now < until else None

    def verify(
        self, username: str | None, password: bytes | None, now: float, tell: Tell = untold
    ) -> Login | None:
        """What these prove, or None: the same steps for a wrong name and a wrong password.

        Raises:
          RegistryError: the directory can't answer now.
        """
        name = username or ""
        given = password or b""
        if len(given) > MAXIMUM_PASSWORD_BYTES:
            tell(f"its password has more than {MAXIMUM_PASSWORD_BYTES} bytes")
            return None
        generation = self._generation
        # For everyone: making them takes time, too.
        decoys = self._decoys
        if decoys is None:
            most = min(self._directory.most_passwords(now), _MOST_PASSWORDS)
            made = _decoys(self._directory.password_hashes())
            decoys = _Decoys(made, max(1, most))
            if generation == self._generation:
                self._decoys = decoys
        identity = self._directory.find(name)
        candidates = _passwords(identity, now)
        for candidate in candidates:
            assert identity is not None
            if candidate.hash.verifies(given) and given:
                login = Login(
                    principal=identity.principal,
                    credential=candidate.id,
                    until=candidate.validity.not_after,
                )
                if generation == self._generation:
                    self._proved[name] = _Proved(self._digest(name, given), login)
                return login
        for place in range(len(candidates), decoys.most):
            self._chosen(decoys.hashes, name, place).verifies(given)
        if identity is None or not candidates:
            why = lacking(identity, "password")
        else:
            why = f"the password of {identity.principal.name!r} is wrong"
        tell(_nothing(username, password) or why)
        return None

    def forget(self, changes: DirectoryChanges) -> None:
        """What rests on what has changed must be proved anew. For the event loop."""
        # What a thread is verifying now may be what has just been changed: it isn't remembered.
        self._generation += 1
        self._decoys = None
        if changes.names is None:
            self._proved.clear()
            return
        for name in changes.names:
            self._proved.pop(name, None)
        if changes.roles:
            self._proved = {
                name: proved
                for name, proved in self._proved.items()
                if not changes.concern_rights(proved.login.principal)
            }

    def _digest(self, username: str, password: bytes) -> bytes:
        # The name's length goes first, so that no other split of the same bytes fits.
        name = username.encode()
        message = len(name).to_bytes(4, "big") + name + password
        return hmac.digest(self._key, message, hashlib.sha256)

    def _chosen(self, decoys: Sequence[PasswordHash], username: str, place: int) -> PasswordHash:
        # The same unknown name always costs the same, as a known one does.
        message = place.to_bytes(4, "big") + username.encode()
        choice = int.from_bytes(hmac.digest(self._key, message, hashlib.sha256)[:8], "big")
        return decoys[choice % len(decoys)]


def _nothing(username: str | None, password: bytes | None) -> str | None:
    """What is missing of a name and a password, if something is."""
    if username is None and password is None:
        return "it gives no credentials"
    if username is None:
        return "it gives a password and no user name"
    return None if password else "it gives a user name and no password"


def _passwords(identity: Identity | None, now: float) -> list[Password]:
    if identity is None or identity.blocked:
        return []
    found = [
        credential
        for credential in identity.credentials
        if isinstance(credential, Password) and credential.validity.holds(now)
    ]
    found.sort(key=lambda each: each.validity.not_before or 0.0)
    return found[-_MOST_PASSWORDS:]


def _decoys(hashes: Sequence[PasswordHash]) -> list[PasswordHash]:
    """One hash of a random password for each set of parameters in use."""
    settings = [argon2.extract_parameters(each.encoded) for each in hashes] or [
        argon2.profiles.RFC_9106_LOW_MEMORY
    ]
    distinct = {(s.time_cost, s.memory_cost, s.parallelism, s.hash_len) for s in settings}
    return [
        PasswordHash.of(
            secrets.token_urlsafe(),
            hasher=argon2.PasswordHasher(
                time_cost=time_cost,
                memory_cost=memory_cost,
                parallelism=parallelism,
                hash_len=hash_bytes,
            ),
        )
        for time_cost, memory_cost, parallelism, hash_bytes in sorted(distinct)
    ]
