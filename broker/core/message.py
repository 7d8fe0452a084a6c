"""An application message inside the broker, and the bytes that carry it to its subscribers."""

from __future__ import annotations

from math import ceil

from mqtt5 import PublishPacket, Will

from mqtt import codec5
from mqtt.errors import TopicError
from mqtt.plain import NO_PROPERTIES, V5_FLAG, FullPublish
from mqtt.properties import (
    MESSAGE_EXPIRY_INTERVAL,
    SUBSCRIPTION_IDENTIFIER,
    split,
    variable_byte_integer,
)
from mqtt.topics import check_topic_name

V5 = V5_FLAG
"""Bit of ``flags`` that asks for the 5.0 form; the others are those of PUBLISH's first byte."""

OVERHEAD_BYTES = 600
"""What a queued message costs beside its text and payload, measured on CPython 3.11."""

_PLAIN_BYTES = OVERHEAD_BYTES - len(NO_PROPERTIES)
_KEPT_FRAMES = 4

_PUBLISH = 0x30


class Message:
    """One message, shared by everyone it goes to.

    Most are made from the packet's bytes (``mqtt.plain``), and what of these goes to subscribers of
    the same kind is kept as it came; ``of`` makes one of a packet that the codec has read.

    ``properties``: as every subscriber of 5.0 gets them, with their length before them
    [MQTT-3.3.2-4], -15, -16, -17, -18, -20; what differs from one to the other is put behind them.
    ``packet_id``: the publisher's, 0 at QoS 0. ``publisher`` is the client identifier (for No
    Local); it and ``arrived_at`` are set by whoever takes the message in. ``arrived_at`` and
    ``expires_at`` are in the core's seconds.
    ``size``: the bytes of memory that the message counts for in a queue. The journal's are ``row``,
    its row in the store, or 0, and ``held``, how many other rows refer to that; the budget's is
    ``holders``.
    """

    __slots__ = (
        "_flags",
        "_frames",
        "_head",
        "arrived_at",
        "expires_at",
        "held",
        "holders",
        "packet_id",
        "payload",
        "properties",
        "publisher",
        "qos",
        "retain",
        "row",
        "size",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        flags: int,
        packet_id: int,
        head: bytes = b"",
        properties: bytes = NO_PROPERTIES,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = flags >> 1 & 3
        self.retain = flags & 1 == 1
        self.packet_id = packet_id
        self.properties = properties
        self.size = _PLAIN_BYTES + len(payload) + len(topic) + len(properties)
        self.publisher = ""
        self.arrived_at = 0.0
        self.expires_at: float | None = None
        self.row = self.held = self.holders = 0
        self._head = head
        self._flags = flags
        self._frames: dict[object, tuple[bytes, bytes]] | None = None

    @classmethod
    def of(cls, publish: FullPublish, topic: str, publisher: str, now: float) -> Message:
        """One with the packet's properties; ``topic`` differs where an alias stands for it."""
        packet = publish.packet
        flags = int(packet.qos) << 1 | packet.retain
        kept = with_length(publish.passed_on)
        message = cls(topic, packet.payload, flags, packet.packet_id or 0, properties=kept)
        message.publisher = publisher
        message.arrived_at = now
        interval = packet.message_expiry_interval
        if interval is not None:
            message.expires_at = now + interval
        return message

    def expired(self, now: float) -> bool:
        """Whether its Message Expiry Interval has passed [MQTT-3.3.2-5]."""
        return self.expires_at is not None and now >= self.expires_at

    def frame(
        self, flags: int, subscription_ids: tuple[int, ...], now: float
    ) -> tuple[bytes, bytes]:
        """Returns the PUBLISH up to its packet identifier, and what is between that and payload.

        ``flags``: ``V5``, QoS (bits 1 and 2) and retain (bit 0) as they go to this subscriber. At
        QoS 0 there is no identifier. The bytes are made once for all subscribers that get the
        same.
        """
        if flags == self._flags and self._head and not subscription_ids:
            return self._head, self.properties if flags & V5 else b""
        key: object = flags
        remaining = None
        if self.expires_at is not None and flags & V5:
            # [MQTT-3.3.2-6]: reduced by the time that the message has waited in the server.
            remaining = max(1, ceil(self.expires_at - now))
            key = (flags, subscription_ids, remaining)
        elif subscription_ids:
            key = (flags, subscription_ids)
        frames = self._frames
        if frames is None:
            frames = self._frames = {}
        found = frames.get(key)
        if found is None:
            if len(frames) >= _KEPT_FRAMES:
                # A retained message would gather one for every second of its expiry interval.
                frames.clear()
            found = frames[key] = self._encode(flags, subscription_ids, remaining)
        return found

    def _encode(
        self, flags: int, subscription_ids: tuple[int, ...], remaining: int | None
    ) -> tuple[bytes, bytes]:
        topic = self.topic.encode()
        properties = b""
        if flags & V5:
            properties = self._properties(subscription_ids, remaining)
        length = 2 + len(topic) + len(properties) + len(self.payload)
        if flags & 0b110:
            length += 2
        first = bytes((_PUBLISH | flags & 0b111,))
        size = len(topic).to_bytes(2, "big")
        return first + variable_byte_integer(length) + size + topic, properties

    def stored(self) -> bytes:
        """Its PUBLISH in the form of 5.0, with the publisher's identifier, for the store."""
        flags = self.qos << 1 | self.retain | V5
        if self.expires_at is None:
            head, properties = self.frame(flags, (), 0.0)
        else:
            # The store keeps the time beside it.
            head, properties = self._encode(flags, (), None)
        identifier = self.packet_id.to_bytes(2, "big") if self.qos else b""
        return b"".join((head, identifier, properties, self.payload))

    def _properties(self, subscription_ids: tuple[int, ...], remaining: int | None) -> bytes:
        kept = self.properties
        if remaining is None and not subscription_ids:
            return kept
        added = b""
        if remaining is not None:
            added = bytes((MESSAGE_EXPIRY_INTERVAL,)) + remaining.to_bytes(4, "big")
        for identifier in subscription_ids:
            added += bytes((SUBSCRIPTION_IDENTIFIER,)) + variable_byte_integer(identifier)
        return with_length(kept[split(kept, 0)[0] :] + added)


def with_length(properties: bytes) -> bytes:
    """Properties with their length before them."""
    return variable_byte_integer(len(properties)) + properties if properties else NO_PROPERTIES


def complaint(message: PublishPacket | Will) -> str | None:
    """What is wrong with the properties of a PUBLISH or a will, None where nothing is."""
    response_topic = message.response_topic
    if response_topic is not None:
        try:
            check_topic_name(response_topic)
        except TopicError as error:
            # [MQTT-3.3.2-14]
            return f"response topic: {error}"
    if message.payload_format_indicator > 1:
        return "payload format indicator above 1"
    return None


def of_the_servers(packet: PublishPacket) -> FullPublish:
    """A PUBLISH that no client has sent, as one that has come."""
    raw = memoryview(packet.write())
    header_bytes, _ = split(raw, 1)
    return FullPublish(packet, codec5.properties_of(raw, header_bytes, packet))
