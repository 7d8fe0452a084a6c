"""PUBLISH packets of QoS 1, encoded but for their packet identifiers.

A packet identifier is the connection's business and is given when a message goes out; all the
rest can be encoded before, and, by whoever sends many messages that differ in little, mostly
once: a packet is ``head + identifier + tail``, the head being fixed header and topic, the tail
properties and payload (MQTT 5.0 section 3.3; on 3.1.1 there are no properties).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mqtt5 import PublishPacket, QoS

from mqtt.codec import ProtocolVersion, encode
from mqtt.properties import split, variable_byte_integer
from mqtt.topics import check_topic_name

_PUBLISH_QOS_1 = 0x32
_RETAIN = 0x01
_LONGEST_REMAINING_LENGTH = 268_435_455
LONGEST_EXPIRY_SECONDS = 0xFFFFFFFF


class Message(NamedTuple):
    """What is to be published; the properties are left out on MQTT 3.1.1."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_seconds: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: Sequence[tuple[str, str]] = ()


def encoded(message: Message, protocol: ProtocolVersion) -> tuple[bytes, bytes]:
    """Returns head and tail of any message.

    Raises:
      TopicError: the topic, or the response topic [MQTT-3.3.2-14], is no topic name.
      ValueError, OverflowError: another field is nothing that MQTT can carry.
    """
    check_topic_name(message.topic)
    properties: dict[str, Any] = {}
    if protocol is ProtocolVersion.V5:
        if message.response_topic is not None:
            check_topic_name(message.response_topic)
        texts = [message.content_type or "", *itertools.chain(*message.user_properties)]
        if any("\0" in text for text in texts):
            # [MQTT-1.5.4-2], which the codec lets through
            raise ValueError("U+0000 in a property")
        properties = {
            "message_expiry_interval": message.expiry_seconds,
            "content_type": message.content_type,
            "response_topic": message.response_topic,
            "correlation_data": message.correlation_data,
            "user_properties": list(message.user_properties),
        }
    packet = PublishPacket(
        message.topic,
        message.payload,
        qos=QoS.AT_LEAST_ONCE,
        packet_id=1,
        retain=message.retain,
        **properties,
    )
    whole = encode(packet, protocol)
    identifier = len(whole) - len(topic_field(whole)) + 2 + len(message.topic.encode())
    return whole[:identifier], whole[identifier + 2 :]


def is_retained(head: bytes) -> bool:
    """Whether the message is one for the broker to retain."""
    return bool(head[0] & _RETAIN)


def topic_field(head: bytes) -> bytes:
    """Returns the topic in a head, with its length: all but the fixed header."""
    begins, _ = split(head, 1)
    return head[begins:]


@lru_cache(maxsize=8_192)
def fixed_header(remaining: int) -> bytes:
    """Returns what stands before the topic of a message that is not retained: ``remaining`` is
    the length of all behind it, the packet identifier's two bytes included (sections 2.1.4, 1.5.5).

    Raises:
      ValueError: no packet is so long.
    """
    if remaining > _LONGEST_REMAINING_LENGTH:
        raise ValueError(f"a message of {remaining} bytes is more than a packet holds")
    return bytes((_PUBLISH_QOS_1,)) + variable_byte_integer(remaining)
