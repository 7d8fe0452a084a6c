"""An application message inside the broker, and the bytes that carry it to its subscribers."""

from __future__ import annotations

from math import ceil

from mqtt5 import PublishPacket, Will

from broker.core.aliases import variable_byte_integer
from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

_PUBLISH = 0x30

V5 = 8
"""Bit of ``flags`` that asks for the 5.0 form; the others are those of PUBLISH's first byte."""

OVERHEAD_BYTES = 600
"""What a queued message costs beside its text and payload, measured on CPython 3.11."""

_USER_PROPERTY_OVERHEAD_BYTES = 160
_KEPT_FRAMES = 4

_PUBLISH = 0x30


class Message:
    """One message, shared by everyone it goes to.

    ``packet`` is as it came; only ``topic`` may differ from it, where an alias stood for the name.
    ``publisher`` is the client identifier (for No Local); ``arrived_at`` and ``expires_at`` are in
    the core's seconds.
    ``size``: the bytes of memory that the message counts for in a queue. The journal's are ``row``,
    its row in the store, or 0, and ``held``, how many other rows refer to that; the budget's is
    ``holders``.
    """

    __slots__ = (
        "_frames",
        "arrived_at",
        "expires_at",
        "held",
        "holders",
        "packet",
        "payload",
        "publisher",
        "qos",
        "retain",
        "row",
        "size",
        "topic",
    )

    def __init__(self, packet: PublishPacket, topic: str, publisher: str, now: float) -> None:
        self.packet = packet
        self.payload = packet.payload
        self.topic = topic
        self.publisher = publisher
        self.qos = int(packet.qos)
        self.retain = packet.retain
        self.size = OVERHEAD_BYTES + len(self.payload) + len(topic) + _property_bytes(packet)
        self.arrived_at = now
        self.arrived_at = now
        interval = packet.message_expiry_interval
        self.expires_at = None if interval is None else now + interval
        self.row = 0
        self.held = 0
        self.holders = 0
        self._frames: dict[object, tuple[bytes, bytes]] | None = None

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
        properties = self._properties(subscription_ids, remaining) if flags & V5 else b""
        length = 2 + len(topic) + len(properties) + len(self.payload)
        if flags & 0b110:
            length += 2
        first = bytes((_PUBLISH | flags & 0b111,))
        size = len(topic).to_bytes(2, "big")
        return first + variable_byte_integer(length) + size + topic, properties

    def _properties(self, subscription_ids: tuple[int, ...], remaining: int | None) -> bytes:
        """The properties as they go to a subscriber, with their length before them.

        [MQTT-3.3.2-4], -15, -16, -17, -20: what the publisher said is passed on unaltered.
        """
        source = self.packet
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
