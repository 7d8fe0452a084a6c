"""SCRAM-SHA-256 by MQTT's enhanced authentication: the directory's secrets, ``mqtt.scram``'s steps.

Who is not known, is blocked or has no secret is challenged like everyone else, by keys that belong
to no password, and fails at the proof: neither the steps nor the challenge tell who exists.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from broker.auth.identity import Directory, Identity, Login, ScramSecret, Tell, lacking, untold
from mqtt.errors import ScramError
from mqtt.scram import METHOD, ScramKeys, ScramServer, client_first, decoy_keys

__all__ = ["METHOD", "Challenge", "Proved", "ScramAuthenticator", "ScramExchange"]

_NONCE_BYTES = 18


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

    def exchange(self) -> ScramExchange:
        """A new exchange with one client."""
        return ScramExchange(self._directory, self._secret)


class ScramExchange:
    """One exchange. ``name``: the user name that the client gave, once it did; "" before."""

    def __init__(self, directory: Directory, secret: bytes) -> None:
        self._directory = directory
        self._secret = secret
        self._server: ScramServer | None = None
        self._login: Login | None = None
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
            if self._server is None:
                return self._begin(data or b"", now)
            server, self._server = self._server, None
            signed = server.finish(data or b"")
        except ScramError:
            tell("its SCRAM message breaks the rules, or is no answer to the challenge")
            return None
        if signed is None or self._login is None:
            tell(self._why)
            return None
        return Proved(login=self._login, data=signed)

    def _begin(self, data: bytes, now: float) -> Challenge:
        first = client_first(data)
        self.name = first.name
        identity = self._directory.find(first.name)
        secret = _secret(identity, now)
        if identity is None or secret is None:
            keys = decoy_keys(first.name, secret=self._secret)
            self._why = lacking(identity, "SCRAM secret")
        else:
            keys = ScramKeys(
                salt=secret.salt,
                iterations=secret.iterations,
                stored_key=secret.stored_key,
                server_key=secret.server_key,
            )
            self._why = f"the password of {identity.principal.name!r} is wrong"
            self._login = Login(
                principal=identity.principal,
                credential=secret.id,
                until=secret.validity.not_after,
            )
        self._server = ScramServer(first, keys, nonce=secrets.token_urlsafe(_NONCE_BYTES))
        return Challenge(data=self._server.challenge())


def _secret(identity: Identity | None, now: float) -> ScramSecret | None:
    """The one that holds since last: a challenge has the salt of one only."""
    if identity is None or identity.blocked:
        return None
    found = [
        credential
        for credential in identity.credentials
        if isinstance(credential, ScramSecret) and credential.validity.holds(now)
    ]
    return max(found, key=lambda each: each.validity.not_before or 0.0, default=None)
