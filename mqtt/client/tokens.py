"""JSON Web Tokens that a client signs itself, in place of a password."""

from __future__ import annotations

import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

LONGEST_LIFETIME_SECONDS = 24 * 3600


class TokenSigner:
    """Gives a new token each time that it is called: a ``SecretReader`` for ``password``.

    Signed with RS256 or ES256, as the key is. The broker closes the connection when the token ends;
    the next one has a new token.

    Args:
      key: reads the private key (PEM, not encrypted), at each call: it may have been rotated.
      audience: what the broker wants in ``aud``; with IoT Core it was the project's id.
      lifetime_seconds: how long a token is good for, a day at most.
      clock: seconds since the epoch.
    """

    def __init__(
        self,
        key: Callable[[], bytes],
        *,
        audience: str,
        lifetime_seconds: int = 3_600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not audience:
            raise ValueError("audience: must not be empty")
        if not 1 <= lifetime_seconds <= LONGEST_LIFETIME_SECONDS:
            raise ValueError(
                f"lifetime_seconds: must be 1 to {LONGEST_LIFETIME_SECONDS}, got {lifetime_seconds}"
            )
        self._key = key
        self._audience = audience
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock

    def __call__(self) -> bytes:
        """Returns a token. Raises ValueError: the key is none that can sign one."""
        try:
            key = load_pem_private_key(self._key(), password=None)
        except (ValueError, TypeError):
            # Not repeated: the key is a secret, and so is what was taken for one.
            raise ValueError("the key is no private key in PEM without a passphrase") from None
        if isinstance(key, rsa.RSAPrivateKey):
            algorithm = "RS256"
        elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            algorithm = "ES256"
        else:
            raise ValueError("the key must be an RSA key, or one of the curve P-256")
        now = int(self._clock())
        claims = {"aud": self._audience, "iat": now, "exp": now + self._lifetime_seconds}
        return jwt.encode(claims, key, algorithm=algorithm).encode()
