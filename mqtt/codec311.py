"""MQTT 3.1.1 on the wire, as the packet types of MQTT 5.0 without properties.

What 3.1.1 says in other words is translated: ``clean session`` 0 is a session that never expires,
CONNACK's six return codes and SUBACK's 0x80 are the nearest reason codes of 5.0. A PUBACK has no
reason code, so none is carried.
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
    Will,
)

from mqtt import codec5
from mqtt.errors import MalformedPacket, too_many

NEVER_EXPIRES = 0xFFFFFFFF
"""Session expiry interval of 5.0 that 3.1.1's ``clean session`` 0 stands for."""

_RETURN_CODES = {
    0: ConnAckReasonCode.SUCCESS,
    1: ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: ConnAckReasonCode.CLIENT_ID_NOT_VALID,
    3: ConnAckReasonCode.SERVER_UNAVAILABLE,
    4: ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
    5: ConnAckReasonCode.NOT_AUTHORIZED,
}
# By number: the enums of mqtt5 are not hashable.
_TO_RETURN_CODE = {int(code): number for number, code in _RETURN_CODES.items()} | {
    int(ConnAckReasonCode.BANNED): 5,
    int(ConnAckReasonCode.BAD_AUTHENTICATION_METHOD): 4,
}
_SERVER_UNAVAILABLE = 3

# Packet type -> flags that its fixed header must bear [MQTT-2.2.2-2]; PUBLISH bears its own.
_FLAGS = {1: 0, 2: 0, 4: 0, 5: 0, 6: 2, 7: 0, 8: 2, 9: 0, 10: 2, 11: 0, 12: 0, 13: 0, 14: 0}


class _Body:
    """Reads the fields of one packet; running past its end is a malformed packet."""

    def __init__(self, data: memoryview, filters: int) -> None:
        self._data = data
        self._at = 0
        self._filters = filters

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise MalformedPacket("a field runs past the end of its packet")
        start = self._at
        self._at += count
        return bytes(self._data[start : self._at])

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.integer())

    def text(self) -> str:
        raw = self.binary()
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            # [MQTT-1.5.3-1]
            raise MalformedPacket("malformed packet: text is not valid UTF-8") from error
        if "\0" in text:
            # [MQTT-1.5.3-2]
            raise MalformedPacket("malformed packet: text contains U+0000")
        return text

    def filter(self) -> str:
        if not self._filters:
            raise too_many("topic filters")
        self._filters -= 1
        return self.text()

    def packet_id(self) -> int:
        value = self.integer()
        if value == 0:
            # [MQTT-2.3.1-1]
            raise MalformedPacket("packet identifier 0")
        return value


def read(packet: memoryview, header_bytes: int, *, filters: int) -> Packet:
    """Reads exactly one packet. Raises MalformedPacket, and ProtocolError for more than so many
    topic filters.
    """
    kind, flags = packet[0] >> 4, packet[0] & 0x0F
    if kind == 3:
        return _publish(packet, header_bytes)
    if _FLAGS.get(kind) != flags:
        raise MalformedPacket(f"packet type {kind} with flags {flags:#x}")
    if len(packet) == 4 and 4 <= kind <= 7 and (packet[2] or packet[3]):
        # PUBACK, PUBREC, PUBREL and PUBCOMP that tell of success are the same bytes in 5.0.
        return codec5.read(packet)
    body = _Body(packet[header_bytes:], filters)
    try:
        result = _READERS[kind](body)
    except ValueError as error:
        # mqtt5's types check topics and filters when they are built.
        raise MalformedPacket(f"malformed packet: {error}") from error
    if body.left:
        raise MalformedPacket(f"packet type {kind} with {body.left} bytes too many")
    return result


_QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)


def _publish(packet: memoryview, header_bytes: int) -> PublishPacket:
    first = packet[0]
    qos = first >> 1 & 3
    if qos == 3:
        # [MQTT-3.3.1-4]
        raise MalformedPacket("PUBLISH with QoS 3")
    if qos == 0 and first & 8:
        # [MQTT-3.3.1-2]
        raise MalformedPacket("PUBLISH with QoS 0 and DUP")
    topic_at = header_bytes + 2
    topic_end = topic_at + int.from_bytes(packet[header_bytes:topic_at], "big")
    payload = topic_end + (2 if qos else 0)
    if payload > len(packet):
        raise MalformedPacket("a field runs past the end of its packet")
    if topic_end == topic_at:
        raise MalformedPacket("PUBLISH with an empty topic name")
    packet_id = int.from_bytes(packet[topic_end:payload], "big") if qos else None
    if packet_id == 0:
        # [MQTT-2.3.1-1]
        raise MalformedPacket("packet identifier 0")
    try:
        return PublishPacket(
            str(packet[topic_at:topic_end], "utf-8"),
            bytes(packet[payload:]),
            qos=_QOS[qos],
            retain=first & 1 == 1,
            duplicate=first & 8 == 8,
            packet_id=packet_id,
        )
    except UnicodeDecodeError as error:
        # [MQTT-1.5.3-1]
        raise MalformedPacket("malformed packet: text is not valid UTF-8") from error
    except ValueError as error:
        # [MQTT-3.3.2-2], [MQTT-1.5.3-2]: wildcards or U+0000 in the topic name.
        raise MalformedPacket(f"malformed packet: {error}") from error


def _connect(body: _Body) -> ConnectPacket:
    body.text()  # The protocol name and level were checked when the version was chosen.
    body.byte()
    flags = body.byte()
    if flags & 1:
        # [MQTT-3.1.2-3]
        raise MalformedPacket("CONNECT with the reserved flag set")
    keep_alive = body.integer()
    client_id = body.text()
    will = None
    if flags & 0x04:
        qos = (flags >> 3) & 3
        if qos == 3:
            raise MalformedPacket("CONNECT with will QoS 3")
        topic = body.text()
        will = Will(topic, payload=body.binary(), qos=QoS(qos), retain=bool(flags & 0x20))
    elif flags & 0x38:
        # [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
        raise MalformedPacket("CONNECT with will QoS or retain and no will")
    if flags & 0x40 and not flags & 0x80:
        # [MQTT-3.1.2-22]
        raise MalformedPacket("CONNECT with a password and no user name")
    username = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    clean = bool(flags & 0x02)
    return ConnectPacket(
        client_id,
        username=username,
        password=password,
        clean_start=clean,
        will=will,
        keep_alive=keep_alive,
        session_expiry_interval=0 if clean else NEVER_EXPIRES,
    )


def _connack(body: _Body) -> ConnAckPacket:
    flags, code = body.byte(), body.byte()
    # [MQTT-3.2.2-4]: a refusal has no session.
    if flags & 0xFE or code not in _RETURN_CODES or (flags and code):
        raise MalformedPacket(f"CONNACK with flags {flags:#x} and return code {code}")
    return ConnAckPacket(session_present=bool(flags), reason_code=_RETURN_CODES[code])


def _subscribe(body: _Body) -> SubscribePacket:
    packet_id = body.packet_id()
    filters = []
    while body.left:
        pattern, options = body.filter(), body.byte()
        if options > 2:
            # [MQTT-3-8.3-4]
            raise MalformedPacket(f"SUBSCRIBE with options {options:#x}")
        filters.append(TopicFilter(pattern, max_qos=QoS(options), retain_as_published=False))
    if not filters:
        # [MQTT-3.8.3-3]
        raise MalformedPacket("SUBSCRIBE without a topic filter")
    return SubscribePacket(packet_id, filters)


def _suback(body: _Body) -> SubAckPacket:
    packet_id = body.packet_id()
    codes = body.take(body.left)
    if not codes or any(code not in (0, 1, 2, 0x80) for code in codes):
        raise MalformedPacket(f"SUBACK with return codes {codes.hex(' ')}")
    return SubAckPacket(packet_id, [SubAckReasonCode(code) for code in codes])


def _unsubscribe(body: _Body) -> UnsubscribePacket:
    packet_id = body.packet_id()
    patterns = []
    while body.left:
        patterns.append(body.filter())
    if not patterns:
        # [MQTT-3.10.3-2]
        raise MalformedPacket("UNSUBSCRIBE without a topic filter")
    return UnsubscribePacket(packet_id, patterns)


_READERS: dict[int, Callable[[_Body], Packet]] = {
    1: _connect,
    2: _connack,
    4: lambda body: PubAckPacket(body.packet_id()),
    5: lambda body: PubRecPacket(body.packet_id()),
    6: lambda body: PubRelPacket(body.packet_id()),
    7: lambda body: PubCompPacket(body.packet_id()),
    8: _subscribe,
    9: _suback,
    10: _unsubscribe,
    11: lambda body: UnsubAckPacket(body.packet_id(), []),
    12: lambda body: PingReqPacket(),
    13: lambda body: PingRespPacket(),
    14: lambda body: DisconnectPacket(),
}


def write(packet: Packet) -> bytes:
    """Returns the packet's bytes. Raises ValueError where 3.1.1 cannot say it."""
    match packet:
        case PublishPacket():
            return _write_publish(packet)
        case PubAckPacket():
            return b"\x40\x02" + packet.packet_id.to_bytes(2, "big")
        case PubRecPacket():
            return b"\x50\x02" + packet.packet_id.to_bytes(2, "big")
        case PubRelPacket():
            return b"\x62\x02" + packet.packet_id.to_bytes(2, "big")
        case PubCompPacket():
            return b"\x70\x02" + packet.packet_id.to_bytes(2, "big")
        case ConnectPacket():
            return _write_connect(packet)
        case ConnAckPacket():
            code = _TO_RETURN_CODE.get(int(packet.reason_code), _SERVER_UNAVAILABLE)
            return bytes((0x20, 2, int(packet.session_present and code == 0), code))
        case SubscribePacket():
            body = packet.packet_id.to_bytes(2, "big") + b"".join(
                _text(item.pattern) + bytes((int(item.max_qos),)) for item in packet.topic_filters
            )
            return _framed(0x82, body)
        case SubAckPacket():
            codes = bytes(min(int(code), 0x80) for code in packet.reason_codes)
            return _framed(0x90, packet.packet_id.to_bytes(2, "big") + codes)
        case UnsubscribePacket():
            body = packet.packet_id.to_bytes(2, "big") + b"".join(map(_text, packet.patterns))
            return _framed(0xA2, body)
        case UnsubAckPacket():
            return b"\xb0\x02" + packet.packet_id.to_bytes(2, "big")
        case PingReqPacket():
            return b"\xc0\x00"
        case PingRespPacket():
            return b"\xd0\x00"
        case DisconnectPacket():
            return b"\xe0\x00"
        case _:
            raise ValueError(f"MQTT 3.1.1 has no {type(packet).__name__}")


def _write_publish(packet: PublishPacket) -> bytes:
    qos = int(packet.qos)
    flags = 0x30 | (8 if packet.duplicate else 0) | qos << 1 | int(packet.retain)
    identifier = packet.packet_id.to_bytes(2, "big") if packet.packet_id is not None else b""
    return _framed(flags, _text(packet.topic) + identifier + packet.payload)


def _write_connect(packet: ConnectPacket) -> bytes:
    flags = 0x02 if packet.clean_start else 0
    tail = _text(packet.client_id)
    if packet.will is not None:
        flags |= 0x04 | int(packet.will.qos) << 3 | (0x20 if packet.will.retain else 0)
        tail += _text(packet.will.topic) + _binary(packet.will.payload or b"")
    if packet.username is not None:
        flags |= 0x80
        tail += _text(packet.username)
    if packet.password is not None:
        if packet.username is None:
            raise ValueError("MQTT 3.1.1 takes a password only together with a user name")
        flags |= 0x40
        tail += _binary(packet.password)
    head = b"\x00\x04MQTT\x04" + bytes((flags,)) + packet.keep_alive.to_bytes(2, "big")
    return _framed(0x10, head + tail)


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    if len(value) > 65_535:
        raise ValueError(f"a field of {len(value)} bytes; MQTT allows 65,535")
    return len(value).to_bytes(2, "big") + value


def _framed(first: int, body: bytes) -> bytes:
    length = len(body)
    header = bytearray((first,))
    while True:
        length, digit = length >> 7, length & 0x7F
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body
