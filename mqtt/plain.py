"""PUBLISH as most are: to a topic that was read before, without properties or with such as were.

A codec makes an object of every packet and asks it for each field; a look at some bytes costs a
third of that. Everything that is not plain, and every first of a topic or of properties, is left to
the codec, which alone decides what is well formed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from mqtt5 import PublishPacket

from mqtt.properties import passed_on

V5_FLAG = 8
"""Stands in ``flags`` for the form of MQTT 5.0."""

KNOWN_TOPICS = 50_000
"""Topics that are remembered at once."""

LONGEST_TOPIC = 256
"""Characters of a topic that is remembered: of the longest, a few would fill the memory."""

NO_PROPERTIES = b"\0"
"""Of MQTT 5.0: their length."""

KNOWN_PROPERTIES = 5_000
"""Properties of a packet that are remembered at once, as one."""

_LONGEST_PROPERTIES = 127
"""Bytes of those that are remembered: their length takes one more."""

_FIRST, _BEHIND_LAST = 0x30, 0x36
"""PUBLISH without DUP, QoS 0 to 2: the first byte."""

_SHORTEST = 7
"""Less has no room for a length of two bytes, a topic and an identifier."""

_Made = TypeVar("_Made")


class FullPublish(NamedTuple):
    """A PUBLISH that the codec has read; ``properties`` as they came, without their length."""

    packet: PublishPacket
    properties: bytes

    @property
    def packet_id(self) -> int | None:
        """The packet's, None at QoS 0."""
        return self.packet.packet_id

    @property
    def passed_on(self) -> bytes:
        """See ``mqtt.properties.passed_on``."""
        packet = self.packet
        if (
            packet.topic_alias is None
            and packet.message_expiry_interval is None
            and not packet.subscription_ids
        ):
            return self.properties
        return passed_on(self.properties)


class PlainPublishes(Generic[_Made]):
    """What several decoders share that read PUBLISH this way.

    ``make`` is called with topic, payload, flags (retain in bit 0, QoS in bits 1 and 2, and
    ``V5_FLAG``), packet identifier (0 at QoS 0), the packet's bytes before that, and its properties
    with their length before them. ``topics``: names that the codec took, by their bytes;
    ``properties``: such as mean nothing to a server, which only passes them on, by themselves.
    """

    def __init__(self, make: Callable[[str, bytes, int, int, bytes, bytes], _Made]) -> None:
        self.topics: dict[bytes, str] = {}
        self.properties: dict[bytes, bytes] = {NO_PROPERTIES: NO_PROPERTIES}
        self._make = make

    def know(self, publish: FullPublish) -> None:
        """The codec has read this one."""
        packet = publish.packet
        if 0 < len(packet.topic) <= LONGEST_TOPIC:
            name = packet.topic.encode()
            if name not in self.topics:
                if len(self.topics) >= KNOWN_TOPICS:
                    self.topics.clear()
                self.topics[name] = packet.topic
        size = len(publish.properties)
        if (
            0 < size <= _LONGEST_PROPERTIES
            and packet.response_topic is None
            and packet.payload_format_indicator <= 1
            and publish.passed_on is publish.properties
        ):
            properties = bytes((size,)) + publish.properties
            if len(self.properties) > KNOWN_PROPERTIES:
                self.properties.clear()
                self.properties[NO_PROPERTIES] = NO_PROPERTIES
            self.properties[properties] = properties

    def read(self, data: bytes, position: int, version: int, largest: int, into: list[Any]) -> int:
        """Reads packets from ``position`` on for as long as they are plain and whole.

        ``version``: ``V5_FLAG`` or 0; ``largest``: bytes of a packet. What was made goes ``into``
        the list. Returns where the first other packet begins.
        """
        topics, known, make = self.topics.get, self.properties.get, self._make
        size = len(data)
        while size - position >= _SHORTEST:
            first = data[position]
            if not _FIRST <= first < _BEHIND_LAST:
                break
            length, body = data[position + 1], position + 2
            if length & 0x80:
                second, body = data[body], position + 3
                if not 0 < second < 0x80:
                    # 16 KiB and more, or not as short as it must be: the codec's.
                    break
                length = length & 0x7F | second << 7
            end = body + length
            if end > size or end - position > largest:
                break
            behind_topic = body + 2 + (data[body] << 8 | data[body + 1])
            topic = topics(data[body + 2 : behind_topic])
            if topic is None:
                break
            flags = first & 7 | version
            at = behind_topic + 1 if version else behind_topic
            packet_id = 0
            if first & 6:
                at += 2
                if at > end:
                    break
                packet_id = data[behind_topic] << 8 | data[behind_topic + 1]
                if not packet_id:
                    break
            elif at > end:
                break
            properties = NO_PROPERTIES
            if version and data[at - 1]:
                size_byte = at - 1
                at += data[size_byte]
                if at > end:
                    break
                # A length of more than a byte is that of none that is known.
                found = known(data[size_byte:at])
                if found is None:
                    break
                properties = found
            head = data[position:behind_topic]
            into.append(make(topic, data[at:end], flags, packet_id, head, properties))
            position = end
        return position
