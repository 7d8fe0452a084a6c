"""A message of an earlier process: it stays the bytes that the store had until it is sent.

A store may hold a million of them. Taking each apart at the start would take longer than all the
rest, and twice the memory.
"""

from __future__ import annotations

from broker.core.message import Message, with_length
from mqtt.plain import NO_PROPERTIES
from mqtt.properties import passed_on, split

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
    def properties(self) -> bytes:  # type: ignore[override]  # read when it is asked for
        """Those of its bytes: an earlier program stored an alias and an expiry interval, too."""
        start, end = split(self._raw, self._properties_at())
        return NO_PROPERTIES if start == end else with_length(passed_on(self._raw[start:end]))

    @property
    def payload(self) -> bytes:  # type: ignore[override]  # read when it is asked for
        """What it carries."""
        return self._raw[split(self._raw, self._properties_at())[1] :]

    def stored(self) -> bytes:
        """As the store had it."""
        return self._raw

    def _properties_at(self) -> int:
        raw = self._raw
        at, _ = split(raw, 1)
        return at + 2 + (raw[at] << 8 | raw[at + 1]) + (2 if self.qos else 0)
