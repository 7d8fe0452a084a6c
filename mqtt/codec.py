"""Bytes to packets and back, for MQTT 5.0 and 3.1.1.

5.0 is read and written by the ``mqtt5`` package; 3.1.1 is the same packet types without their
properties (``mqtt.codec311``). What ``mqtt5`` lets through and the specification does not
(wildcards in a topic name, packet identifier 0) is caught here and nowhere else; text that is none,
on which it panics, in ``mqtt.texts5``.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, Never, TypeVar, overload

from mqtt5 import Packet, PublishPacket

from mqtt import codec5, codec311, texts5
from mqtt.errors import MalformedPacket, PacketTooLarge, ProtocolError, UnsupportedProtocol
from mqtt.plain import V5_FLAG, FullPublish, PlainPublishes

LARGEST_PACKET_BYTES = 268_435_460
"""What the fixed header can express: a remaining length of 268,435,455 and five bytes before it."""

PROPERTIES = 1_000
"""Of one packet that a server takes: what loops over more of them holds up everybody else."""

_CONNECT = 1
_SUBSCRIBE = 8
_NAME, _NAME_OF_31 = b"MQTT", b"MQIsdp"
_ACKNOWLEDGEMENTS = frozenset((4, 5, 6, 7))
_OF_SERVERS = frozenset((2, 9, 11, 13))

_PUBACK = 0x40
_PUBACK_REST = 2
_PUBACK_BYTES = 4
_PUBLISH_FIRST = 0x30

_Read = TypeVar("_Read")
_Made = TypeVar("_Made")


class ProtocolVersion(enum.IntEnum):
    """The protocol level byte of CONNECT."""

    V311 = 4
    V5 = 5


class Decoder(Generic[_Read]):
    """Cuts a byte stream into packets, and what else is ``_Read``.

    ``protocol``: the version spoken, or None on a server, where the first packet must be CONNECT
    and decides it. ``maximum_packet_bytes``: a packet that announces more is refused before its
    body is buffered, so a peer costs at most that much memory; it may be changed between calls
    (a server takes less from a peer that it does not know yet). ``take_pubacks``: is given the
    packet identifiers of successful PUBACKs that stand in a row, which then are not among the
    packets; a publisher reads little else, and so at a tenth of the cost. ``plain``: what makes
    something of its own of most PUBLISH; each other is a FullPublish then. See ``mqtt.plain``.
    ``teaches``: whether what the peer sends is remembered there, for all decoders that share it.
    ``maximum_filters``: more in a SUBSCRIBE or UNSUBSCRIBE are refused (0x97) before anything is
    made of them; may be changed, too. ``will_properties``: those of the will in the CONNECT that
    was read, as they came, without their length.
    """

    __slots__ = (
        "_is_server",
        "_plain",
        "_properties",
        "_rest",
        "_wanted",
        "maximum_filters",
        "maximum_packet_bytes",
        "protocol",
        "take_pubacks",
        "teaches",
        "will_properties",
    )

    @overload
    def __init__(
        self: Decoder[Never],
        *,
        protocol: ProtocolVersion | None = None,
        maximum_packet_bytes: int = LARGEST_PACKET_BYTES,
    ) -> None: ...

    @overload
    def __init__(
        self: Decoder[FullPublish | _Made],
        *,
        protocol: ProtocolVersion | None = None,
        maximum_packet_bytes: int = LARGEST_PACKET_BYTES,
        plain: PlainPublishes[_Made],
    ) -> None: ...

    def __init__(
        self,
        *,
        protocol: ProtocolVersion | None = None,
        maximum_packet_bytes: int = LARGEST_PACKET_BYTES,
        plain: PlainPublishes[Any] | None = None,
    ) -> None:
        self.protocol = protocol
        self.maximum_packet_bytes = maximum_packet_bytes
        self.teaches = True
        self.take_pubacks: Callable[[Sequence[int]], None] | None = None
        self.will_properties = b""
        self.maximum_filters = LARGEST_PACKET_BYTES
        self._is_server = protocol is None
        self._properties = PROPERTIES if self._is_server else LARGEST_PACKET_BYTES
        self._plain = plain
        self._rest = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[Packet | _Read]:
        """Takes what the socket gave and returns the packets that it completes, in order.

        Raises:
          ProtocolError: with the reason code to answer with, and in ``packets`` those that came
            whole before the bad one. The decoder is of no use afterwards.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        self._wanted = 0
        packets: list[Packet | _Read] = []
        size = len(data)
        view = memoryview(data)
        position = 0
        try:
            while size - position >= 2:
                if self._plain is not None and data[position] & 0xF0 == _PUBLISH_FIRST:
                    began = position
                    position = self._read_plain(self._plain, data, position, packets)
                    if position > began:
                        continue
                length = data[position + 1]
                if self.take_pubacks is not None and data[position] == _PUBACK:
                    identifiers = _puback_run(data, position)
                    if identifiers:
                        self.take_pubacks(identifiers)
                        position += _PUBACK_BYTES * len(identifiers)
                        continue
                body = position + 2
                if length & 0x80:
                    length, body = _remaining_length(data, position + 1)
                    if body < 0:
                        break
                end = body + length
                if end - position > self.maximum_packet_bytes:
                    raise PacketTooLarge(
                        f"packet of {end - position} bytes; at most"
                        f" {self.maximum_packet_bytes} are taken"
                    )
                if end > size:
                    self._wanted = end - position
                    break
                packets.append(self._read(view[position:end], body - position))
                position = end
        except ProtocolError as error:
            error.packets = packets
            raise
        if position < size:
            self._rest += view[position:]
        return packets

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a packet that is not complete yet."""
        return len(self._rest)

    def _read_plain(
        self, plain: PlainPublishes[Any], data: bytes, position: int, into: list[Packet | _Read]
    ) -> int:
        """Returns where the first packet begins that is not plain; nothing is before CONNECT."""
        if self.protocol is None:
            return position
        version = V5_FLAG if self.protocol is ProtocolVersion.V5 else 0
        return plain.read(data, position, version, self.maximum_packet_bytes, into)

    def _read(self, packet: memoryview, header_bytes: int) -> Any:
        kind = packet[0] >> 4
        if self.protocol is None:
            self.protocol = _protocol_of_connect(packet, header_bytes)
        if self._is_server and kind in _OF_SERVERS:
            raise ProtocolError(f"packet type {kind}, which only a server sends")
        properties = b""
        if self.protocol is ProtocolVersion.V311:
            result = codec311.read(packet, header_bytes, filters=self.maximum_filters)
        else:
            texts5.check(
                packet,
                header_bytes,
                properties=self._properties,
                filters=self.maximum_filters,
            )
            result = codec5.read(packet)
            if isinstance(result, PublishPacket):
                properties = codec5.properties_of(packet, header_bytes, result)
            elif kind == _CONNECT:
                codec5.check_connect(packet, header_bytes)
                self.will_properties = codec5.will_properties(packet, header_bytes)
            elif kind == _SUBSCRIBE:
                codec5.check_subscribe(packet, header_bytes)
            elif kind in _ACKNOWLEDGEMENTS:
                codec5.check_acknowledgement(packet, header_bytes)
        if isinstance(result, PublishPacket):
            _check_publish(result)
            if self._plain is not None:
                full = FullPublish(result, properties)
                if self.teaches:
                    self._plain.know(full)
                return full
        return result


def encode(packet: Packet, protocol: ProtocolVersion) -> bytes:
    """Returns the packet's bytes.

    Raises:
      ValueError: a field is longer than the wire allows, or 3.1.1 has no such packet.
    """
    if protocol is ProtocolVersion.V5:
        return packet.write()
    return codec311.write(packet)


def _puback_run(data: bytes, start: int) -> Sequence[int]:
    """Returns the identifiers of the successful PUBACKs that fill ``data`` from ``start`` on; none
    where something else is among them.
    """
    count = (len(data) - start) // _PUBACK_BYTES
    end = start + _PUBACK_BYTES * count
    if data[start:end:_PUBACK_BYTES] != bytes((_PUBACK,)) * count:
        return ()
    if end < len(data) and data[end] != _PUBACK:
        # A small packet behind them, which must not overtake them: a DISCONNECT has two bytes.
        return ()
    if data[start + 1 : end : _PUBACK_BYTES] != bytes((_PUBACK_REST,)) * count:
        return ()
    identifiers = struct.unpack_from(f">{2 * count}H", data, start)[1::2]
    # None has the identifier 0: what is wrong with that is told one by one.
    return () if 0 in identifiers else identifiers


def _check_publish(packet: PublishPacket) -> None:
    topic = packet.topic
    if "#" in topic or "+" in topic:
        # [MQTT-3.3.2-2]
        raise MalformedPacket(f"PUBLISH to {topic!r}: wildcards are not allowed in a topic name")
    if "\0" in topic:
        # [MQTT-1.5.4-2]
        raise MalformedPacket("PUBLISH topic contains U+0000")
    for name, value in packet.user_properties:
        if "\0" in name or "\0" in value:
            raise MalformedPacket("PUBLISH with U+0000 in a user property")
    for text in (packet.content_type, packet.response_topic):
        if text is not None and "\0" in text:
            raise MalformedPacket("PUBLISH with U+0000 in a property")
    if packet.packet_id == 0:
        # [MQTT-2.2.1-3]
        raise MalformedPacket("PUBLISH with packet identifier 0")
    if not topic and packet.topic_alias is None:
        raise ProtocolError("PUBLISH with neither topic nor topic alias")


def _protocol_of_connect(packet: memoryview, header_bytes: int) -> ProtocolVersion:
    if packet[0] >> 4 != _CONNECT:
        # [MQTT-3.1.0-1]
        raise ProtocolError("the first packet is not CONNECT")
    body = packet[header_bytes:]
    name_bytes = int.from_bytes(body[:2], "big")
    if len(body) < name_bytes + 3:
        raise MalformedPacket("CONNECT is too short")
    name = bytes(body[2 : 2 + name_bytes])
    level = body[2 + name_bytes]
    if name != _NAME or level not in (4, 5):
        # [MQTT-3.1.2-1], [MQTT-3.1.2-2]
        raise UnsupportedProtocol(
            f"CONNECT asks for protocol {name!r} level {level}; MQTT 3.1.1 (4) and 5.0 (5) are"
            " spoken here",
            level=_level_of_form(packet, header_bytes, name),
        )
    return ProtocolVersion(level)


def _level_of_form(packet: memoryview, header_bytes: int, name: bytes) -> int | None:
    """Whose CONNECT has the form of this one: 5.0's has properties, also in what comes after it."""
    if len(name) == len(_NAME):
        as_v5 = bytearray(packet)
        as_v5[header_bytes + 2 : header_bytes + 7] = _NAME + bytes((ProtocolVersion.V5,))
        try:
            texts5.check(memoryview(as_v5), header_bytes, properties=PROPERTIES, filters=0)
            codec5.read(as_v5)
        except ProtocolError:
            pass
        else:
            return ProtocolVersion.V5
    return ProtocolVersion.V311 if name in (_NAME, _NAME_OF_31) else None


def _remaining_length(data: bytes, start: int) -> tuple[int, int]:
    """Returns (remaining length, index behind it); the index is -1 while bytes are missing."""
    value = 0
    for index in range(4):
        if start + index >= len(data):
            return 0, -1
        byte = data[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, start + index + 1
    # [MQTT-1.5.5-1]
    raise MalformedPacket("the remaining length takes more than four bytes")
