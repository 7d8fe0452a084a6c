"""Packets as bytes, for what no codec would write."""

from __future__ import annotations

import pytest
from mqtt5 import DisconnectPacket

from mqtt.codec import ProtocolVersion
from tests.broker.core.harness import V5, V311, Client, House

both = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5.0"])

NO_PROPERTIES = b"\x00"


class Recorded(Client):
    """A client that keeps the bytes it is sent."""

    raw = b""

    def deliver(self, data: bytes) -> None:
        self.raw += data
        super().deliver(data)


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def framed(first: int, body: bytes) -> bytes:
    assert len(body) < 0x80
    return bytes((first, len(body))) + body


def connect(
    version: ProtocolVersion,
    flags: int = 0x02,
    payload: bytes = text(b"c1"),
    *,
    name: bytes = b"MQTT",
    level: int | None = None,
    keep_alive: int = 0,
) -> bytes:
    """A CONNECT; ``payload`` is all behind the properties."""
    head = text(name) + bytes((version if level is None else level, flags))
    properties = NO_PROPERTIES if version is V5 else b""
    return framed(0x10, head + keep_alive.to_bytes(2, "big") + properties + payload)


def request(
    version: ProtocolVersion, first: int, filters: bytes, packet_id: bytes = b"\0\1"
) -> bytes:
    """A SUBSCRIBE or UNSUBSCRIBE."""
    return framed(first, packet_id + (NO_PROPERTIES if version is V5 else b"") + filters)


def publish(version: ProtocolVersion, first: int, topic: bytes, packet_id: bytes = b"") -> bytes:
    properties = NO_PROPERTIES if version is V5 else b""
    return framed(first, text(topic) + packet_id + properties + b"x")


def answer_to(version: ProtocolVersion, data: bytes) -> Client:
    """A new connection that has sent ``data``."""
    client = House().open(version)
    client.send_bytes(data)
    return client


def is_refused(version: ProtocolVersion, data: bytes) -> int:
    """Sends bytes on an accepted connection, which must end it. Returns 5.0's reason code, or 0."""
    client = House().connect("c1", version)
    client.inbox.clear()
    client.send_bytes(data)
    assert client.closed is not None
    if version is V311:
        assert client.inbox == []
        return 0
    return int(client.one(DisconnectPacket).reason_code)
