"""SCRAM-SHA-256 by MQTT's enhanced authentication: the directory's secrets, ``mqtt.scram``'s steps.

Who is not known, is blocked or has no secret is challenged like everyone else, by keys that belong
to no password, and fails at the proof: neither the steps nor the challenge tell who exists.

A challenge has one salt. Secrets that share it, as the two of a rotation do, are tried alike.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from broker.auth.identity import Directory, Identity, Login, ScramSecret, Tell, lacking, untold
from mqtt.errors import ScramError
from mqtt.scram import METHOD, ScramKeys, ScramServer, client_first, decoy_keys

__all__ = ["METHOD", "Challenge", "Proved", "ScramAuthenticator", "ScramExchange"]

_NONCE_BYTES = 18
_MOST_SECRETS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """The client must answer this."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The client has proved itself, and gets this to know the server by."""

    login: Login
    data: bytes


class ScramAuthenticator:
    """Begins exchanges.

    ``secret``: for the challenges of unknown names; where it is another than yesterday, they are.
    """

    def __init__(self, directory: Directory, *, secret: bytes) -> None:
        self._directory = directory
        self._secret = secret

    def exchange(self, *, seen: int) -> ScramExchange:
        """A new exchange with one client."""
        return ScramExchange(self._directory, self._secret, seen)


class ScramExchange:
    """One exchange. ``name``: the user name that the client gave, once it did; "" before.

    ``seen``: how many changes of the directory were known when it began. What it ends with is of
    its first step, however long ago that is.
    """

    def __init__(self, directory: Directory, secret: bytes, seen: int) -> None:
        self.seen = seen
        self._directory = directory
        self._secret = secret
        self._servers: list[tuple[ScramServer, Login | None]] = []
        self._why = ""
        self.name = ""

    def advance(
        self, data: bytes | None, now: float, tell: Tell = untold
    ) -> Challenge | Proved | None:
        """Takes what the client sent; None: it proves nothing, and the exchange is over.

        For any thread; ``now``: seconds since the epoch.

        Raises:
          RegistryError: the directory can't answer now.
        """
        try:
            if not self._servers:
                return self._begin(data or b"", now)
            servers, self._servers = self._servers, []
            for server, login in servers:
                signed = server.finish(data or b"")
                if signed is not None and login is not None:
                    return Proved(login=login, data=signed)
        except ScramError:
            tell("its SCRAM message breaks the rules, or is no answer to the challenge")
            return None
        tell(self._why)
        return None

    def _begin(self, data: bytes, now: float) -> Challenge:
        first = client_first(data)
        self.name = first.name
        identity = self._directory.find(first.name)
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        tried = _secrets(identity, now)
        if identity is None or not tried:
            keys = decoy_keys(first.name, secret=self._secret)
            self._servers = [(ScramServer(first, keys, nonce=nonce), None)]
            self._why = lacking(identity, "SCRAM secret")
        else:
            self._why = f"the password of {identity.principal.name!r} is wrong"
            self._servers = [
                (
                    ScramServer(first, _keys(secret), nonce=nonce),
                    Login(
                        principal=identity.principal,
                        credential=secret.id,
                        until=secret.validity.not_after,
                    ),
                )
                for secret in tried
            ]
        return Challenge(data=self._servers[0][0].challenge())


def _keys(secret: ScramSecret) -> ScramKeys:
    return ScramKeys(
        salt=secret.salt,
        iterations=secret.iterations,
        stored_key=secret.stored_key,
        server_key=secret.server_key,
    )


def _secrets(identity: Identity | None, now: float) -> list[ScramSecret]:
    """The one that holds since last, and those that its challenge is for, too."""
    if identity is None or identity.blocked:
        return []
    found = [
        credential
        for credential in identity.credentials
        if isinstance(credential, ScramSecret) and credential.validity.holds(now)
    ]
    if not found:
        return []
    last = max(found, key=lambda each: each.validity.not_before or 0.0)
    challenge = (last.salt, last.iterations)
    same = [each for each in found if (each.salt, each.iterations) == challenge]
    return same[:_MOST_SECRETS]
