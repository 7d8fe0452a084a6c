"""What a directory knows of someone who may connect: who it is, and what proves it. Pure values.

``broker.registry`` builds them, ``broker.auth`` proves them: one file there for each kind of
credential. A credential has an id that is unique in its directory, so that a connection can be
closed when the very one that it was proved by is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from broker.auth.password_formats import OtherHash
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import Principal, Rights

ANONYMOUS, PROXY = "anonymous", "proxy"
"""In place of a credential: nothing was proved, or a trusted proxy has seen the certificate."""

Tell = Callable[[str], None]
"""Is told why something proves nothing. That is for the log alone, never for the client, and has
nothing of what the client gave: people put passwords where a name belongs.
"""


def untold(reason: str) -> None:
    """A ``Tell`` for who does not ask why."""


FIRST_SECOND, LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0
"""The years 1 to 9999, which are all that a time can be written in, since the epoch."""

FINGERPRINT_BYTES = 32
"""Of a certificate: the SHA-256 of its DER form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When a credential may be used: seconds since the epoch, the end excluded; None: no bound."""

    not_before: float | None = None
    not_after: float | None = None

    def __post_init__(self) -> None:
        for bound in (self.not_before, self.not_after):
            if bound is not None and not FIRST_SECOND <= bound <= LAST_SECOND:
                raise ValueError("a validity must lie within the years 1 to 9999")
        begin, end = self.not_before, self.not_after
        if begin is not None and end is not None and begin >= end:
            raise ValueError("a validity must begin before it ends")

    def holds(self, now: float) -> bool:
        """Whether ``now``, in seconds since the epoch, lies within."""
        return (self.not_before is None or self.not_before <= now) and (
            self.not_after is None or now < self.not_after
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """A password, as its argon2id hash, which alone proves it here.

    ``others``: its hashes in the formats of other brokers, sorted; for those brokers only.
    """

    id: str
    validity: Validity = Validity()
    hash: PasswordHash
    others: tuple[OtherHash, ...] = ()

    def __post_init__(self) -> None:
        names = [each.format for each in self.others]
        if len(set(names)) < len(names):
            raise ValueError(f"credential {self.id!r} has two hashes in one format")
        in_order = sorted(self.others, key=lambda each: each.format)
        object.__setattr__(self, "others", tuple(in_order))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramSecret:
    """What a server keeps for SCRAM-SHA-256 (RFC 5802, section 3); the password can't be had."""

    id: str
    validity: Validity = Validity()
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


class KeyAlgorithm(enum.Enum):
    """Of a JSON Web Token's signature (RFC 7518, section 3.1)."""

    RS256 = "RS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that verifies the device's own JSON Web Tokens. ``pem``: SubjectPublicKeyInfo."""

    id: str
    validity: Validity = Validity()
    algorithm: KeyAlgorithm
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate, whoever issued it. ``fingerprint``: SHA-256 of its DER form."""

    id: str
    validity: Validity = Validity()
    fingerprint: bytes

    def __post_init__(self) -> None:
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes (SHA-256)")


Credential = Password | ScramSecret | PublicKey | Certificate


class NameFrom(enum.Enum):
    """Where in a certificate a device's name stands."""

    COMMON_NAME = "common_name"
    DNS = "dns"
    URI = "uri"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA whose certificates speak for the device or service that they name.

    ``pattern`` has one ``{name}`` and must be all of the text that is found (``spiffe://site/{name}``).
    ``revocation_list``: PEM; a certificate on it proves nothing.
    """

    id: str
    validity: Validity = Validity()
    pem: str
    name_from: NameFrom = NameFrom.COMMON_NAME
    pattern: str = "{name}"
    revocation_list: str | None = None

    def __post_init__(self) -> None:
        if self.pattern.count("{name}") != 1:
            raise ValueError(f"pattern {self.pattern!r} must have '{{name}}' once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device or service: whom it is as a client, and its credentials. Blocked: none of them."""

    principal: Principal
    blocked: bool = False
    credentials: tuple[Credential, ...] = ()

    @property
    def standing(self) -> Standing:
        """What logins of its rest on."""
        validities = {each.id: each.validity for each in self.credentials}
        return Standing(principal=self.principal, blocked=self.blocked, validities=validities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a login that was proved rests on: whom it is of, and when its credentials hold, by id.

    No more of an ``Identity`` than that, for ten thousand are asked for at once.
    """

    principal: Principal
    blocked: bool = False
    validities: Mapping[str, Validity]


def lacking(identity: Identity | None, means: str, named_by: str = "user name") -> str:
    """Why somebody can't log in by a kind of credential that it has none of; see ``Tell``."""
    if identity is None:
        return f"nobody is registered under its {named_by}"
    name = identity.principal.name
    return f"{name!r} is blocked" if identity.blocked else f"{name!r} has no {means} that holds now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Which authority, as it was then, spoke for a client by its certificate's serial number."""

    authority: Authority
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What was proved: who, by which credential, and until when (seconds since the epoch).

    Once ``until`` has passed the connection is closed. ``credential``: its id, an authority's
    where it is ``vouched`` for, else ANONYMOUS or PROXY.
    """

    principal: Principal
    credential: str
    until: float | None = None
    vouched: Vouched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChanges:
    """What changed since an earlier version.

    ``names``: who is somebody else or has other credentials; None where it may be anyone, and
    anything. ``removed``: those of them who were removed, even if somebody has the name again.
    ``roles`` have other rights. ``authorities`` vouch for others.
    """

    version: int
    names: frozenset[str] | None = frozenset()
    removed: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    authorities: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.names is None or bool(self.names or self.roles or self.authorities)

    def __or__(self, later: DirectoryChanges) -> DirectoryChanges:
        """These and those that came after."""
        anyone = self.names is None or later.names is None
        return DirectoryChanges(
            version=later.version,
            names=None if anyone else (self.names or frozenset()) | (later.names or frozenset()),
            removed=self.removed | later.removed,
            roles=self.roles | later.roles,
            authorities=self.authorities | later.authorities,
        )

    def concern(self, login: Login) -> bool:
        """Whether a login may rest on what has changed: who it is, or its authority."""
        return (
            self.names is None
            or login.principal.name in self.names
            or (login.vouched is not None and login.credential in self.authorities)
        )

    def concern_rights(self, principal: Principal) -> bool:
        """Whether one may have other rights because a role has."""
        roles = self.roles
        # Asked for ten thousand at once: a generator would take twice as long.
        for grant in principal.grants if roles else ():  # noqa: SIM110  # for that
            if grant.role in roles:
                return True
        return False


class Directory(Protocol):
    """Who may connect. Every call may block (a database): never from the event loop, any thread.

    Names are those of devices and of services alike: unique among both, and each one's user name.
    A call that can't be answered now raises RegistryError; what was answered before holds.
    """

    def find(self, name: str) -> Identity | None:
        """Who bears the name."""

    def standings(self, names: Sequence[str]) -> Mapping[str, Standing]:
        """Of those of the names that somebody bears: as few questions for thousands as for one."""

    def unknown(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the names that nobody bears.

        None of them where there is nobody at all: that is rather a wrong directory than one that
        everybody was removed from.
        """

    def find_certificate(self, fingerprint: bytes) -> Identity | None:
        """Whose certificate that is."""

    def rights(self) -> Mapping[str, Rights]:
        """Those of all roles, by name."""

    def authorities(self) -> Sequence[Authority]:
        """All CAs."""

    def password_hashes(self) -> Sequence[PasswordHash]:
        """A hash for each set of argon2id parameters in use, for decoys."""

    def most_passwords(self, now: float) -> int:
        """How many passwords that have not ended one has at most, for decoys."""

    def changes(self, since: int) -> DirectoryChanges:
        """What changed, by this process or another, after the version ``since``."""

    def close(self) -> None:
        """Lets go of what it holds open; nothing is asked any more."""
