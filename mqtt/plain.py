"""PUBLISH as most are: without properties, to a topic that was read before, in a row of others.

A codec makes an object of every packet and asks it for each field; a look at some bytes costs a
third of that. Everything that is not plain, and every first of a topic, is left to the codec, which
alone decides what is well formed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

V5_FLAG = 8
"""Stands in ``flags`` for the form of MQTT 5.0."""

KNOWN_TOPICS = 50_000
"""Topics that are remembered at once."""

LONGEST_TOPIC = 256
"""Characters of a topic that is remembered: of the longest, a few would fill the memory."""

_FIRST, _BEHIND_LAST = 0x30, 0x36
"""PUBLISH without DUP, QoS 0 to 2: the first byte."""

_SHORTEST = 7
"""Less has no room for a length of two bytes, a topic and an identifier."""

_Made = TypeVar("_Made")


class PlainPublishes(Generic[_Made]):
    """What several decoders share that read PUBLISH this way.

    ``make`` is called with topic, payload, flags (retain in bit 0, QoS in bits 1 and 2, and
    ``V5_FLAG``), packet identifier (0 at QoS 0), and the packet's bytes before that. ``topics``:
    names that the codec took, by their bytes.
    """

    def __init__(self, make: Callable[[str, bytes, int, int, bytes], _Made]) -> None:
        self.topics: dict[bytes, str] = {}
        self._make = make

    def know(self, topic: str) -> None:
        """The codec has read a PUBLISH to this topic."""
        if not 0 < len(topic) <= LONGEST_TOPIC:
            return
        name = topic.encode()
        if name not in self.topics:
            if len(self.topics) >= KNOWN_TOPICS:
                self.topics.clear()
            self.topics[name] = topic

    def read(self, data: bytes, position: int, version: int, largest: int, into: list[Any]) -> int:
        """Reads packets from ``position`` on for as long as they are plain and whole.

        ``version``: ``V5_FLAG`` or 0; ``largest``: bytes of a packet. What was made goes ``into``
        the list. Returns where the first other packet begins.
        """
        topics, make = self.topics.get, self._make
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
            if version and data[at - 1]:
                # It has properties.
                break
            into.append(make(topic, data[at:end], flags, packet_id, data[position:behind_topic]))
            position = end
        return position
