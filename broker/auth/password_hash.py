"""An argon2id hash of a password, as it is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import argon2
from argon2.exceptions import VerificationError, VerifyMismatchError

_FORM = re.compile(r"\$argon2id\$v=19\$m=[0-9]{1,10},t=[0-9]{1,10},p=[0-9]{1,10}\$[^$]*\$[^$]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """An argon2id hash in its usual text form, ``$argon2id$v=19$m=…,t=…,p=…$salt$digest``."""

    encoded: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(self.encoded):
            raise ValueError("not an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$digest)")

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
