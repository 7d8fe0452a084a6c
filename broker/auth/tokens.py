"""JSON Web Tokens in the password field, signed by the device's own key (RS256, ES256).

As Google Cloud IoT Core had it: the device is named by the client identifier (``D``, or
``projects/P/locations/L/registries/R/devices/D``), the user name may be anything, and the
connection ends when the token does. A service, whose client identifiers are many, is named by the
user name. ``aud`` must be this server's, ``iat`` and ``exp`` must be there, at most a day apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.auth.identity import (
    Directory,
    Identity,
    KeyAlgorithm,
    Login,
    PublicKey,
    Tell,
    lacking,
    untold,
)
from broker.auth.principal import device_of_client_id

LONGEST_SECONDS = 24 * 3600
"""From ``iat`` to ``exp``."""
SKEW_SECONDS = 60
"""How far the device's clock may be off."""

_LARGEST_BYTES = 4_096
_MOST_KEYS = 4


def looks_like_token(password: bytes) -> bool:
    """Whether a password is a signed token (RFC 7515, section 3.1) and not a password."""
    return password.startswith(b"eyJ") and password.count(b".") == 2


class TokenAuthenticator:
    """Tokens to a ``Login``. ``audiences``: what ``aud`` may be; without any nothing is proved."""

    def __init__(self, directory: Directory, *, audiences: Collection[str]) -> None:
        self._directory = directory
        self._audiences = list(audiences)

    def verify(
        self,
        token: bytes,
        *,
        client_id: str,
        username: str | None,
        now: float,
        tell: Tell = untold,
    ) -> Login | None:
        """What the token proves, or None. For any thread; ``now``: seconds since the epoch.

        Raises:
          RegistryError: the directory can't answer now.
        """
        algorithm = _algorithm(token)
        if algorithm is None or not self._audiences:
            tell(
                "its token is not signed by RS256 or ES256, or too long"
                if algorithm is None
                else "it gives a token, and the configuration has no tokens.audiences"
            )
            return None
        # For everyone: making it takes time, too.
        decoy = _decoy(algorithm)
        identity = self._identity(client_id, username)
        keys = _keys(identity, algorithm, now)
        if identity is None or not keys:
            # Whoever has no key takes as long.
            self._claims(token, decoy, algorithm, now)
            tell(lacking(identity, f"{algorithm.value} key", "client identifier or user name"))
            return None
        why = ""
        for key in keys:
            claims = self._claims(token, key.pem, algorithm, now)
            if isinstance(claims, str):
                # Another key's signature says less than what is wrong with its own.
                why = claims or why
            else:
                ends = [claims["exp"] + SKEW_SECONDS, key.validity.not_after]
                return Login(
                    principal=identity.principal,
                    credential=key.id,
                    until=min(float(end) for end in ends if end is not None),
                )
        tell(why or f"its token is not signed by a key of {identity.principal.name!r}")
        return None

    def _identity(self, client_id: str, username: str | None) -> Identity | None:
        found = self._directory.find(device_of_client_id(client_id)) if client_id else None
        if found is None and username:
            found = self._directory.find(username)
        return found

    def _claims(
        self, token: bytes, pem: str, algorithm: KeyAlgorithm, now: float
    ) -> Mapping[str, Any] | str:
        """The claims of a token that the key has signed and that holds now, or why it does not:
        "" where another key, if any, has signed it.
        """
        try:
            claims = jwt.decode(
                token,
                pem,
                algorithms=[algorithm.value],
                audience=self._audiences,
                # Times are looked at below, by the clock that was passed in.
                options={
                    "require": ["aud", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            return f"its token has no {error.claim}"
        except jwt.InvalidAudienceError:
            return "its token's aud is none of tokens.audiences"
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError):
            return ""
        return _objection(claims, now) or claims


def _algorithm(token: bytes) -> KeyAlgorithm | None:
    """What the token says that it is signed by: ``none`` and HS256 are nothing to us."""
    if len(token) > _LARGEST_BYTES:
        return None
    try:
        return KeyAlgorithm(jwt.get_unverified_header(token).get("alg"))
    except (jwt.InvalidTokenError, ValueError):
        return None


def _keys(identity: Identity | None, algorithm: KeyAlgorithm, now: float) -> list[PublicKey]:
    if identity is None or identity.blocked:
        return []
    found = [
        credential
        for credential in identity.credentials
        if isinstance(credential, PublicKey)
        and credential.algorithm is algorithm
        and credential.validity.holds(now)
    ]
    # Those that hold since last, so that what a login costs is bounded.
    found.sort(key=lambda each: each.validity.not_before or 0.0)
    return found[-_MOST_KEYS:]


def _objection(claims: Mapping[str, Any], now: float) -> str | None:
    """Why a token does not hold now; None where it does."""
    issued, ends, begins = claims["iat"], claims["exp"], claims.get("nbf", claims["iat"])
    if not all(type(each) in (int, float) for each in (issued, ends, begins)):
        return "its token's iat, exp or nbf is no number"
    if not max(issued, begins) <= now + SKEW_SECONDS:
        return "its token is not valid yet; is its clock right?"
    if not now < ends + SKEW_SECONDS:
        return "its token has expired"
    if not 0 < ends - issued <= LONGEST_SECONDS:
        return (
            f"its token is for more than {LONGEST_SECONDS // 3_600} hours, or for none (iat, exp)"
        )
    return None


@lru_cache(maxsize=len(KeyAlgorithm))
def _decoy(algorithm: KeyAlgorithm) -> str:
    """A public key of which nobody has the private one."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if algorithm is KeyAlgorithm.RS256:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
