"""Passwords: argon2id hashes, and the cheap proof that one was right before.

Verifying argon2id is meant to be slow, so it runs in a thread, and once a password was right a
keyed digest of it is remembered (HMAC-SHA-256 under a key that lives and dies with the process):
a device that reconnects costs microseconds. A user that does not exist is verified against a hash
that nobody knows the password of, with the parameters of one of the real ones, so that neither the
answer nor the time tells whether the name is known.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from broker.auth.principal import Principal

MAXIMUM_PASSWORD_BYTES = 1_024
"""A longer one is wrong without a look: argon2 reads all that it is given."""

_SETTINGS = re.compile(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """An argon2id hash in its usual text form, ``$argon2id$v=19$m=…,t=…,p=…$salt$digest``."""

    encoded: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _SETTINGS.match(self.encoded):
            raise ValueError("not an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$digest)")
        try:
            argon2.extract_parameters(self.encoded)
        except InvalidHashError as error:
            raise ValueError("not an argon2id hash: its parameters cannot be read") from error

    @classmethod
    def of(cls, password: str, *, hasher: argon2.PasswordHasher) -> PasswordHash:
        """Hashes a password; takes as long as the hasher's parameters ask."""
        return cls(encoded=hasher.hash(password))

    def verifies(self, password: bytes) -> bool:
        """Whether this is the password's hash. Slow on purpose."""
        try:
            return argon2.PasswordHasher().verify(self.encoded, password)
        except VerifyMismatchError:
            return False
        except VerificationError:
            # The digest's length or salt is not what argon2 takes: it verifies nothing.
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user name, whom it stands for, and the hash of its password."""

    principal: Principal
    password: PasswordHash


class PasswordAuthenticator:
    """User name and password to a Principal.

    ``remembered`` is for the event loop; ``verify`` is slow and safe to call from any thread.
    """

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._key = secrets.token_bytes(32)
        self._digests: dict[str, bytes] = {}
        self._decoys = _decoys(accounts)

    def remembered(self, username: str | None, password: bytes | None) -> Principal | None:
        """Whom these belong to, if they were verified before; None says nothing else."""
        if username is None or password is None:
            return None
        known = self._digests.get(username)
        if known is None or not hmac.compare_digest(known, self._digest(username, password)):
            return None
        return self._accounts[username].principal

    def verify(self, username: str | None, password: bytes | None) -> Principal | None:
        """Whom these belong to, or None: the same steps for a wrong name and a wrong password."""
        name = username or ""
        given = password or b""
        if len(given) > MAXIMUM_PASSWORD_BYTES:
            return None
        account = self._accounts.get(name)
        stored = self._decoy(name) if account is None else account.password
        right = stored.verifies(given)
        if account is None or not right or not given:
            return None
        self._digests[name] = self._digest(name, given)
        return account.principal

    def _digest(self, username: str, password: bytes) -> bytes:
        # The name's length goes first, so that no other split of the same bytes fits.
        name = username.encode()
        message = len(name).to_bytes(4, "big") + name + password
        return hmac.digest(self._key, message, hashlib.sha256)

    def _decoy(self, username: str) -> PasswordHash:
        # The same unknown name always costs the same, as a known one does.
        choice = int.from_bytes(
            hmac.digest(self._key, username.encode(), hashlib.sha256)[:8], "big"
        )
        return self._decoys[choice % len(self._decoys)]


def _decoys(accounts: Mapping[str, Account]) -> list[PasswordHash]:
    """One hash of a random password for each set of parameters in use."""
    settings = [
        argon2.extract_parameters(account.password.encoded) for account in accounts.values()
    ] or [argon2.profiles.RFC_9106_LOW_MEMORY]
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
