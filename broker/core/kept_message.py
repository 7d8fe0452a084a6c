"""A message of an earlier process: it stays the bytes that the store had until it is sent.

A store may hold a million of them. Taking each apart at the start would take longer than all the
rest, and twice the memory.
"""

from __future__ import annotations

from mqtt5 import PublishPacket

from broker.core.message import Message
from mqtt import codec5

KEPT_OVERHEAD_BYTES = 450
"""What it costs beside its bytes and its topic, measured on CPython 3.11, while it waits."""

_NO_FLAGS = -1


class KeptMessage(Message):
    """As ``Message``, of ``raw``: a PUBLISH in the form of 5.0, as ``Message.stored`` gives it.

    ``topic``: without an alias for it; ``expires_at``: in the core's seconds.
    """

    __slots__ = ("_raw",)

    def __init__(
        self, row: int, raw: bytes, topic: str, publisher: str, expires_at: float | None, now: float
    ) -> None:
        self._raw = raw
        self.topic = topic
        self.publisher = publisher
        first = raw[0]
        self.qos = first >> 1 & 3
        self.retain = first & 1 == 1
        self.packet_id = 0
        self.size = KEPT_OVERHEAD_BYTES + len(raw) + len(topic)
        self.arrived_at = now
        self.expires_at = expires_at
        self.row = row
        self.held = self.holders = 0
        self._head = b""
        self._flags = _NO_FLAGS
        self._frames = None

    @property
    def packet(self) -> PublishPacket | None:  # type: ignore[override]  # made when it is asked for
        """As it came, where it has properties."""
        return self._read() if self._raw[self._properties_at()] else None

    @property
    def payload(self) -> bytes:  # type: ignore[override]  # made when it is asked for
        """What it carries."""
        at = self._properties_at()
        return self._read().payload if self._raw[at] else self._raw[at + 1 :]

    def stored(self) -> bytes:
        """As the store had it."""
        return self._raw

    def _properties_at(self) -> int:
        raw = self._raw
        at = 1
        while raw[at] & 0x80:
            at += 1
        return at + 3 + (raw[at + 1] << 8 | raw[at + 2]) + (2 if self.qos else 0)

    def _read(self) -> PublishPacket:
        packet = codec5.read(self._raw)
        assert isinstance(packet, PublishPacket)
        return packet
