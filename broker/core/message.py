"""An application message inside the broker, and the bytes that carry it to its subscribers."""

from __future__ import annotations

from math import ceil

from mqtt5 import PublishPacket, Will

from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

_PUBLISH = 0x30

V5 = 8
"""Bit of ``flags`` that asks for the 5.0 form; the others are those of PUBLISH's first byte."""


class Message:
    """One message, shared by everyone it goes to.

    ``packet`` is as it came; only ``topic`` may differ from it, where an alias stood for the name.
    ``publisher`` is the client identifier (for No Local), ``expires_at`` in the core's seconds.
    ``size`` in bytes is what the message counts for in a queue.
    """

    __slots__ = ("_frames", "expires_at", "packet", "publisher", "qos", "retain", "size", "topic")

    def __init__(self, packet: PublishPacket, topic: str, publisher: str, now: float) -> None:
        self.packet = packet
        self.topic = topic
        self.publisher = publisher
        self.qos = int(packet.qos)
        self.retain = packet.retain
        self.size = len(packet.payload) + len(topic)
        interval = packet.message_expiry_interval
        self.expires_at = None if interval is None else now + interval
        self._frames: dict[object, tuple[bytes, bytes]] = {}

    def expired(self, now: float) -> bool:
        """Whether its Message Expiry Interval has passed [MQTT-3.3.2-5]."""
        return self.expires_at is not None and now >= self.expires_at

    def frame(
        self, flags: int, subscription_ids: tuple[int, ...], now: float
    ) -> tuple[bytes, bytes]:
        """Returns the PUBLISH as the bytes before and behind its packet identifier.

        ``flags``: ``V5``, QoS (bits 1 and 2) and retain (bit 0) as they go to this subscriber. At
        QoS 0, where there is no identifier, the second part is empty. The bytes are made once for
        all subscribers that get the same.
        """
        key: object = flags
        remaining = None
        if self.expires_at is not None and flags & V5:
            # [MQTT-3.3.2-6]: reduced by the time that the message has waited in the server.
            remaining = max(1, ceil(self.expires_at - now))
            key = (flags, subscription_ids, remaining)
        elif subscription_ids:
            key = (flags, subscription_ids)
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = self._encode(flags, subscription_ids, remaining)
        return found

    def _encode(
        self, flags: int, subscription_ids: tuple[int, ...], remaining: int | None
    ) -> tuple[bytes, bytes]:
        topic = self.topic.encode()
        if flags & V5:
            tail = self._properties(subscription_ids, remaining) + self.packet.payload
        else:
            tail = self.packet.payload
        has_identifier = flags & 0b110
        length = 2 + len(topic) + len(tail) + (2 if has_identifier else 0)
        head = bytearray((_PUBLISH | flags & 0b111,))
        while length > 0x7F:
            head.append(length & 0x7F | 0x80)
            length >>= 7
        head.append(length)
        head += len(topic).to_bytes(2, "big")
        head += topic
        return (bytes(head), tail) if has_identifier else (bytes(head) + tail, b"")

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
