"""Hashes of a password in the formats of other brokers, which verify no login of ours.

Whoever gets a registry attacks the weakest hash of each password in it. So it has one of these only
where its format was chosen, and only of passwords that were set since. Another broker's format is
one more entry of ``FORMATS``.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import argon2


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordFormat:
    """How another broker keeps passwords.

    Attributes:
      name: the broker's.
      how: by what they are hashed, in words.
      form: what a hash of its looks like.
      hashed: the hash of a password, with a new salt.
      line: a name and its hash as the broker's file of passwords has them, without the end of the
        line. Raises ValueError for a name that can't be there.
      broker_cost: what a verification costs the broker, in words, behind the broker's name.
    """

    name: str
    how: str
    form: re.Pattern[str]
    hashed: Callable[[str], str]
    line: Callable[[str, str], str]
    broker_cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHash:
    """A password's hash in another broker's format, by that format's name."""

    format: str
    encoded: str = field(repr=False)

    def __post_init__(self) -> None:
        if not format_named(self.format).form.fullmatch(self.encoded):
            raise ValueError(f"not a password's hash as {self.format} has it")


def format_named(name: str) -> PasswordFormat:
    """The format of that name. Raises ValueError."""
    if name not in FORMATS:
        raise ValueError(f"is {name!r}; the password formats are: {', '.join(FORMATS)}")
    return FORMATS[name]


def hashed_in(formats: Iterable[str], password: str) -> tuple[OtherHash, ...]:
    """A password's hash in each of the formats. Raises ValueError for one that is not known."""
    return tuple(
        OtherHash(format=name, encoded=format_named(name).hashed(password))
        for name in sorted(formats)
    )


def told_cost(chosen: PasswordFormat) -> str:
    """What it costs to have hashes in that format, in sentences; measured here and now."""
    hasher = argon2.PasswordHasher()
    own, other = (_milliseconds(made) for made in (hasher.hash, chosen.hashed))
    return (
        f"A guess at a password costs an attacker {own:.0f} ms of this machine's CPU and"
        f" {hasher.memory_cost // 1024} MiB of memory by argon2id, and {other:.1f} ms and next to"
        f" no memory, so that graphics cards try many at once, by {chosen.how}, which is"
        f" {chosen.name}'s format. Whoever gets the registry, or a copy of it, attacks the weaker"
        " of the two. A generated password (192 random bits) is guessed by neither; one that a"
        f" person chose is. {chosen.name} {chosen.broker_cost}."
    )


def _milliseconds(hashed: Callable[[str], object]) -> float:
    """Of CPU, on all threads: the best of three."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        hashed("a password")
        found.append(time.process_time() - begin)
    return min(found) * 1_000


_MOSQUITTO_ITERATIONS = 4_096
"""mosquitto_passwd makes 101. mosquitto verifies in its only thread, who is connected again at each
reload: with ten times as many, a reload with a thousand clients would stop it for half a minute."""

_MOSQUITTO_SALT_BYTES = 12
"""mosquitto 2.0 takes no other length."""


def mosquitto_hash(password: str, *, salt: bytes, iterations: int) -> str:
    """The hash that mosquitto_passwd makes."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${_base64(salt)}${_base64(digest)}"


def _hashed_for_mosquitto(password: str) -> str:
    salt = secrets.token_bytes(_MOSQUITTO_SALT_BYTES)
    return mosquitto_hash(password, salt=salt, iterations=_MOSQUITTO_ITERATIONS)


def _line_for_mosquitto(name: str, encoded: str) -> str:
    # What stands before the first one would be another's name.
    if ":" in name:
        raise ValueError("mosquitto takes no name with a colon")
    return f"{name}:{encoded}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


FORMATS: Mapping[str, PasswordFormat] = {
    known.name: known
    for known in (
        PasswordFormat(
            name="mosquitto",
            how=f"PBKDF2-HMAC-SHA512 with {_MOSQUITTO_ITERATIONS} iterations",
            # The salt has 12 bytes, or 64 where a later version made it.
            form=re.compile(
                r"\$7\$[1-9][0-9]{0,6}\$([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{86}==)"
                r"\$[A-Za-z0-9+/]{86}=="
            ),
            hashed=_hashed_for_mosquitto,
            line=_line_for_mosquitto,
            broker_cost="does nothing else while it verifies a password, right or wrong, and"
            " verifies everybody who is connected once more at each reload",
        ),
    )
}
"""By name."""
