"""An application message inside the broker, and the bytes that carry it to its subscribers."""

from __future__ import annotations

from math import ceil

from mqtt5 import PublishPacket, QoS, Will

from mqtt.codec import ProtocolVersion, encode
from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

_QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)

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
        source = self.packet
        level = flags >> 1 & 3
        qos = _QOS[level]
        retain = bool(flags & 1)
        packet_id = 1 if level else None
        if flags & V5:
            # [MQTT-3.3.2-4], -15, -16, -17, -20: what the publisher said is passed on unaltered.
            raw = PublishPacket(
                self.topic,
                source.payload,
                qos=qos,
                retain=retain,
                packet_id=packet_id,
                payload_format_indicator=source.payload_format_indicator,
                message_expiry_interval=remaining,
                content_type=source.content_type,
                response_topic=source.response_topic,
                correlation_data=source.correlation_data,
                subscription_ids=list(subscription_ids),
                user_properties=source.user_properties,
            ).write()
        else:
            raw = encode(
                PublishPacket(
                    self.topic, source.payload, qos=qos, retain=retain, packet_id=packet_id
                ),
                ProtocolVersion.V311,
            )
        if not level:
            return raw, b""
        topic_at = 2
        while raw[topic_at - 1] & 0x80:
            topic_at += 1
        identifier_at = topic_at + 2 + int.from_bytes(raw[topic_at : topic_at + 2], "big")
        return raw[:identifier_at], raw[identifier_at + 2 :]


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
