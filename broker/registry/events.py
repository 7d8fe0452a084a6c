"""What happened to a client's connection, and when it was seen last. Pure values."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class EventKind(enum.Enum):
    """What happened."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEvent:
    """One connect or disconnect.

    Attributes:
      name: the device or service.
      at: seconds since the epoch.
      reason: why the connection ended, in words; empty at a connect.
      peer: the client's address.
      protocol: ``5.0`` or ``3.1.1``.
    """

    kind: EventKind
    name: str
    client_id: str
    at: float
    reason: str
    peer: str
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """When a device or service did something last, in seconds since the epoch; None: never."""

    connected_at: float | None
    disconnected_at: float | None
    seen_at: float | None
