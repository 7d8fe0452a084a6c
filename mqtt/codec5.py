"""MQTT 5.0 from the wire by the ``mqtt5`` package, with its failures as our errors."""

from __future__ import annotations

import mqtt5
from mqtt5 import Packet, PublishPacket

from mqtt.errors import MalformedPacket, ProtocolError
from mqtt.properties import split

# What mqtt5 says of packets that are well formed and forbidden all the same (4.13.1).
_PROTOCOL_ERRORS = {
    "Topic alias must be != 0": 0x94,
    "Topic alias must be set": 0x82,
    "Receive maximum must be != 0": 0x82,
    "Maximum packet size must be != 0": 0x82,
    "Subscription ID must be != 0": 0x82,
    "Duplicate value for unique property": 0x82,
    "Invalid boolean": 0x82,
}


def read(packet: memoryview | bytes | bytearray) -> Packet:
    """Reads exactly one packet. Raises ProtocolError, mostly MalformedPacket."""
    try:
        return mqtt5.read(memoryview(packet))[0]
    except (ValueError, IndexError, OverflowError) as error:
        text = str(error)
        for begin, reason_code in _PROTOCOL_ERRORS.items():
            if text.startswith(begin):
                raise ProtocolError(text, reason_code=reason_code) from error
        raise MalformedPacket(f"malformed packet: {error}") from error
    except BaseException as error:  # pyo3's PanicException is one, and has no name to import
        # The codec panics on text that is no UTF-8, which texts5 has looked for by now; it may on
        # what nobody has thought of. Everything else goes on as it is.
        if type(error).__name__ != "PanicException":
            raise
        raise MalformedPacket("malformed packet: the codec failed on it") from None


def properties_of(packet: memoryview, header_bytes: int, result: PublishPacket) -> bytes:
    """Returns the properties of a PUBLISH that ``read`` has taken, as they came, without their
    length. Raises MalformedPacket: mqtt5 reads a property on behind their end, and takes for the
    payload what is left.
    """
    at = header_bytes + 2 + (packet[header_bytes] << 8 | packet[header_bytes + 1])
    if packet[0] & 0x06:
        at += 2
    start, end = split(packet, at)
    if end + len(result.payload) != len(packet):
        raise MalformedPacket("malformed packet: a property runs past the properties' end")
    return bytes(packet[start:end])


def check_acknowledgement(packet: memoryview, header_bytes: int) -> None:
    """Checks the identifier of an acknowledgement that was read. Raises MalformedPacket."""
    if not packet[header_bytes] and not packet[header_bytes + 1]:
        # [MQTT-2.2.1-3]: there is no message of that identifier to acknowledge.
        raise MalformedPacket("packet identifier 0")


def check_connect(packet: memoryview, header_bytes: int) -> None:
    """Checks the flags of a CONNECT that ``read`` has taken. Raises MalformedPacket."""
    flags = packet[header_bytes + 7]
    if flags & 0x01:
        # [MQTT-3.1.2-3]
        raise MalformedPacket("CONNECT with the reserved flag set")
    if not flags & 0x04 and flags & 0x38:
        # [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        raise MalformedPacket("CONNECT with will QoS or retain and no will")


def will_properties(packet: memoryview, header_bytes: int) -> bytes:
    """Returns the properties of the will in a CONNECT that ``read`` has taken, as they came.

    Without their length; none where there is no will.
    """
    if not packet[header_bytes + 7] & 0x04:
        return b""
    _, client_id_at = split(packet, header_bytes + 10)
    size = packet[client_id_at] << 8 | packet[client_id_at + 1]
    start, end = split(packet, client_id_at + 2 + size)
    return bytes(packet[start:end])


def check_subscribe(packet: memoryview, header_bytes: int) -> None:
    """Checks the options of a SUBSCRIBE that ``read`` has taken. Raises MalformedPacket."""
    _, at = split(packet, header_bytes + 2)
    while at < len(packet):
        at += 2 + int.from_bytes(packet[at : at + 2], "big")
        if at >= len(packet):
            raise MalformedPacket("malformed packet: a topic filter runs past the end")
        if packet[at] & 0xC0:
            # [MQTT-3.8.3-5]
            raise MalformedPacket(f"SUBSCRIBE with reserved option bits ({packet[at]:#04x})")
        at += 1
