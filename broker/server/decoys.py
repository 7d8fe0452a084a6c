"""The key by which SCRAM challenges names that nobody has; see ``broker.auth.scram``.

Without a file it lives and dies with the process. Brokers behind one load balancer, and a broker
before and after its restart, show the same challenge for the same name where they share one.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from broker.errors import ConfigError

LEAST_BYTES = 16
_NEW_BYTES = 32


def decoy_key(file: Path | None) -> bytes:
    """The file's bytes, or new ones. Raises ConfigError."""
    if file is None:
        return secrets.token_bytes(_NEW_BYTES)
    remedy = f"it must hold {LEAST_BYTES} random bytes or more: head -c {_NEW_BYTES} /dev/urandom"
    try:
        key = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; {remedy}") from error
    if len(key) < LEAST_BYTES:
        raise ConfigError(f"{file}: holds {len(key)} bytes; {remedy}")
    return key
