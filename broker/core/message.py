"""An application message inside the broker, and the bytes that carry it to its subscribers."""

from __future__ import annotations

from math import ceil

from mqtt5 import PublishPacket, Will

from broker.core.aliases import variable_byte_integer
from mqtt.errors import TopicError
from mqtt.plain import V5_FLAG
from mqtt.topics import check_topic_name

V5 = V5_FLAG
"""Bit of ``flags`` that asks for the 5.0 form; the others are those of PUBLISH's first byte."""

OVERHEAD_BYTES = 600
"""What a queued message costs beside its text and payload, measured on CPython 3.11."""

_USER_PROPERTY_OVERHEAD_BYTES = 160
_KEPT_FRAMES = 4

_PUBLISH = 0x30


class Message:
    """One message, shared by everyone it goes to.

    Most have no properties; they are made from the packet's bytes (``mqtt.plain``), and what of
    these goes to subscribers of the same kind is kept as it came. ``of`` makes one of a packet,
    whose properties are in ``packet`` then.

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
        "packet",
        "packet_id",
        "payload",
        "publisher",
        "qos",
        "retain",
        "row",
        "size",
        "topic",
    )

    def __init__(
        self, topic: str, payload: bytes, flags: int, packet_id: int, head: bytes = b""
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = flags >> 1 & 3
        self.retain = flags & 1 == 1
        self.packet_id = packet_id
        self.size = OVERHEAD_BYTES + len(payload) + len(topic)
        self.packet: PublishPacket | None = None
        self.publisher = ""
        self.arrived_at = 0.0
        self.expires_at: float | None = None
        self.row = self.held = self.holders = 0
        self._head = head
        self._flags = flags
        self._frames: dict[object, tuple[bytes, bytes]] | None = None

    @classmethod
    def of(cls, packet: PublishPacket, topic: str, publisher: str, now: float) -> Message:
        """One with the packet's properties; ``topic`` differs where an alias stands for it."""
        flags = int(packet.qos) << 1 | packet.retain
        message = cls(topic, packet.payload, flags, packet.packet_id or 0)
        message.packet = packet
        message.size += _property_bytes(packet)
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
            return self._head, b"\0" if flags & V5 else b""
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
            properties = _properties(self.packet, subscription_ids, remaining)
        length = 2 + len(topic) + len(properties) + len(self.payload)
        if flags & 0b110:
            length += 2
        first = bytes((_PUBLISH | flags & 0b111,))
        size = len(topic).to_bytes(2, "big")
        return first + variable_byte_integer(length) + size + topic, properties

    def stored(self) -> bytes:
        """Its PUBLISH in the form of 5.0, with the publisher's identifier, for the store."""
        if self.packet is not None:
            return self.packet.write()
        head, properties = self.frame(self.qos << 1 | self.retain | V5, (), 0.0)
        identifier = self.packet_id.to_bytes(2, "big") if self.qos else b""
        return b"".join((head, identifier, properties, self.payload))


_NO_PROPERTIES = PublishPacket("t", b"")


def _properties(
    source: PublishPacket | None, subscription_ids: tuple[int, ...], remaining: int | None
) -> bytes:
    """The properties as they go to a subscriber, with their length before them.

    [MQTT-3.3.2-4], -15, -16, -17, -20: what the publisher said is passed on unaltered.
    """
    if source is None:
        source = _NO_PROPERTIES
    if (
        remaining is None
        and not subscription_ids
        and not source.user_properties
        and source.content_type is None
        and source.response_topic is None
        and source.correlation_data is None
        and not source.payload_format_indicator
    ):
        return b"\0"
    # Written by the codec as a packet of its own: they stand behind the topic 't'.
    raw = PublishPacket(
        "t",
        b"",
        payload_format_indicator=source.payload_format_indicator,
        message_expiry_interval=remaining,
        content_type=source.content_type,
        response_topic=source.response_topic,
        correlation_data=source.correlation_data,
        subscription_ids=list(subscription_ids),
        user_properties=source.user_properties,
    ).write()
    at = 1
    while raw[at] & 0x80:
        at += 1
    return raw[at + 4 :]


def _property_bytes(packet: PublishPacket) -> int:
    size = 0
    for text in (packet.correlation_data, packet.response_topic, packet.content_type):
        if text is not None:
            size += len(text)
    for name, value in packet.user_properties:
        size += len(name) + len(value) + _USER_PROPERTY_OVERHEAD_BYTES
    return size


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


def will_packet(will: Will) -> PublishPacket:
    """The PUBLISH that a will stands for [MQTT-3.1.2-8]."""
    return PublishPacket(
        will.topic,
        will.payload or b"",
        qos=will.qos,
        # Never sent: each subscriber's copy gets an identifier of its own.
        packet_id=1 if int(will.qos) else None,
        retain=will.retain,
        payload_format_indicator=will.payload_format_indicator,
        message_expiry_interval=will.message_expiry_interval,
        content_type=will.content_type,
        response_topic=will.response_topic,
        correlation_data=will.correlation_data,
        user_properties=will.user_properties,
    )
