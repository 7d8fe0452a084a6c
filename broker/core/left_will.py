"""A client's will, from its CONNECT or the store to the message that it becomes."""

from __future__ import annotations

from typing import NamedTuple

from mqtt5 import ConnectPacket, PublishPacket, Will

from broker.core.message import with_length
from mqtt import codec5
from mqtt.plain import FullPublish
from mqtt.properties import passed_on, split, variable_byte_integer

_CONNECT = b"\x10"
_NAME_AND_LEVEL = b"\0\4MQTT\5"
_HAS_USER_NAME, _HAS_WILL = 0x80, 0x04
_NO_KEEP_ALIVE, _NO_PROPERTIES = b"\0\0", b"\0"


class LeftWill(NamedTuple):
    """``properties``: as they came in CONNECT, without their length."""

    will: Will
    properties: bytes

    @property
    def topic(self) -> str:
        """Where it is published."""
        return self.will.topic

    @property
    def payload(self) -> bytes:
        """What is published."""
        return self.will.payload or b""

    @property
    def delay_seconds(self) -> int:
        """How long it waits for its client to come back [MQTT-3.1.3-9]."""
        return self.will.will_delay_interval

    def publish(self) -> FullPublish:
        """The PUBLISH that it stands for [MQTT-3.1.2-8]."""
        will = self.will
        packet = PublishPacket(
            will.topic,
            self.payload,
            qos=will.qos,
            # Never sent: each subscriber's copy gets an identifier of its own.
            packet_id=1 if int(will.qos) else None,
            retain=will.retain,
            message_expiry_interval=will.message_expiry_interval,
        )
        return FullPublish(packet, passed_on(self.properties))

    def stored(self, owner: str) -> bytes:
        """A CONNECT with this will, and its owner as the user name."""
        will = self.will
        flags = _HAS_USER_NAME | will.retain << 5 | int(will.qos) << 3 | _HAS_WILL
        body = b"".join(
            (
                _NAME_AND_LEVEL,
                bytes((flags,)),
                _NO_KEEP_ALIVE,
                _NO_PROPERTIES,
                _binary(b"w"),
                with_length(self.properties),
                _binary(will.topic.encode()),
                _binary(self.payload),
                _binary(owner.encode()),
            )
        )
        return _CONNECT + variable_byte_integer(len(body)) + body


def read(stored: bytes) -> tuple[str, LeftWill]:
    """Of what ``stored`` gave: whose will it is, "" if an earlier program didn't say; the will."""
    connect = codec5.read(stored)
    assert isinstance(connect, ConnectPacket)
    assert connect.will is not None
    header_bytes, _ = split(stored, 1)
    properties = codec5.will_properties(memoryview(stored), header_bytes)
    return connect.username or "", LeftWill(connect.will, properties)


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
