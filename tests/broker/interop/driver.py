"""What an interoperability test asks of a client that others wrote, as its own library does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from broker.config import ListenerType


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where and as whom a client connects. ``version``: 4 or 5; ``ca``: for TLS."""

    transport: ListenerType
    port: int
    version: int
    username: str
    password: str
    client_id: str
    ca: Path | None = None

    @property
    def has_tls(self) -> bool:
        return self.transport.has_tls

    @property
    def has_websocket(self) -> bool:
        return self.transport.has_websocket


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A message as the client's library gives it; what it does not tell is None."""

    topic: str
    payload: bytes
    qos: int
    retain: bool | None = False
    user_properties: list[tuple[str, str]] | None = None
    content_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Last:
    """A will."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


class Driver(Protocol):
    """One client. Every call returns when the broker has answered; errors are the library's own."""

    def connect(self, endpoint: Endpoint, *, clean: bool, will: Last | None) -> bool | None:
        """Connects; returns Session Present, None where the library does not tell."""

    def subscribe(self, topic: str, qos: int) -> None:
        """Subscribes."""

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, **properties: Any
    ) -> None:
        """Publishes. ``properties``: ``user_properties`` and ``content_type``, with 5.0."""

    def received(self) -> list[Arrived]:
        """All that came since the driver was made."""

    def disconnect(self) -> None:
        """Says DISCONNECT; the session stays."""

    def vanish(self) -> None:
        """Loses the connection without a word."""

    def close(self) -> None:
        """Lets go of whatever it holds."""
