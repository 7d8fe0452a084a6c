"""The texts of an MQTT 5.0 packet, checked before its codec sees them (1.5.4).

``mqtt5`` prints a stack trace and panics on text that is no UTF-8. Whoever can open a connection
could fill a server's standard error with that, so what is no text goes no further than here; and
U+0000, which ``mqtt5`` takes, neither. Nor does a packet of more properties or topic filters than
are taken: of the smallest, a packet holds millions, and each costs as much as a longer one.
"""

from __future__ import annotations

from mqtt.errors import MalformedPacket, too_many
from mqtt.properties import BINARIES, NUMBERS, STRINGS, SUBSCRIPTION_IDENTIFIER

_FIRST_OF_PUBLISH = 0x30
_CONNECT, _SUBSCRIBE, _UNSUBSCRIBE = 1, 8, 10
_CONNACK, _SUBACK, _UNSUBACK, _DISCONNECT, _AUTH = 2, 9, 11, 14, 15

_WILL, _PASSWORD, _USER_NAME = 0x04, 0x40, 0x80

_SMALL_BYTES = 4_096


def check(packet: memoryview, header_bytes: int, *, properties: int, filters: int) -> None:
    """Raises MalformedPacket for a text that is none [MQTT-1.5.4-1], [MQTT-1.5.4-2].

    And ProtocolError for more than so many properties or topic filters.

    Says nothing of fields that run past the end and of properties that do not exist: the codec
    does. U+0000 in a PUBLISH is looked for once it is read.
    """
    first = packet[0]
    try:
        if first & 0xF0 == _FIRST_OF_PUBLISH:
            # Most packets are one without properties, so their way is short.
            start = header_bytes + 2
            end = start + (packet[header_bytes] << 8 | packet[start - 1])
            str(packet[start:end], "utf-8")
            if first & 0x06:
                end += 2
            if packet[end]:
                rest = packet[end + 1 :]
                # All ASCII, as JSON mostly is: then whatever is taken for a text is one.
                if len(rest) > _SMALL_BYTES or not bytes(rest).isascii():
                    _Fields(packet, end, properties).properties()
        elif len(packet) > 4 + header_bytes:
            # Less has room for neither a text nor a property with one.
            _check_others(_Fields(packet, header_bytes, properties), first >> 4, filters)
    except (IndexError, KeyError):
        return
    except UnicodeDecodeError as error:
        raise MalformedPacket("malformed packet: text is not valid UTF-8") from error


def _check_others(fields: _Fields, kind: int, filters: int) -> None:
    if kind == _CONNECT:
        _check_connect(fields)
    elif kind in (_SUBSCRIBE, _UNSUBSCRIBE):
        fields.skip(2)
        fields.properties()
        while fields.left:
            if not filters:
                raise too_many("topic filters")
            filters -= 1
            fields.text()
            fields.skip(1 if kind == _SUBSCRIBE else 0)
    elif kind in (_DISCONNECT, _AUTH):
        fields.skip(1)
        fields.properties()
    elif kind in (_CONNACK, _SUBACK, _UNSUBACK):
        fields.skip(2)
        fields.properties()
    else:
        fields.skip(3)  # packet identifier and reason code
        fields.properties()


def _check_connect(fields: _Fields) -> None:
    fields.text()
    fields.skip(1)
    flags = fields.byte()
    fields.skip(2)
    fields.properties()
    fields.text()
    if flags & _WILL:
        fields.properties()
        fields.text()
        fields.binary()
    if flags & _USER_NAME:
        fields.text()


class _Fields:
    """Goes over a packet field by field; IndexError at its end."""

    def __init__(self, packet: memoryview, at: int, properties: int) -> None:
        self._packet = packet
        self._at = at
        self._most_properties = properties

    @property
    def left(self) -> int:
        return len(self._packet) - self._at

    def skip(self, count: int) -> None:
        self._at += count

    def byte(self) -> int:
        value = self._packet[self._at]
        self._at += 1
        return value

    def binary(self) -> memoryview:
        start = self._at + 2
        end = start + (self._packet[self._at] << 8 | self._packet[self._at + 1])
        if end > len(self._packet):
            raise IndexError
        self._at = end
        return self._packet[start:end]

    def text(self) -> None:
        if "\0" in str(self.binary(), "utf-8"):
            raise MalformedPacket("malformed packet: text contains U+0000")

    def number(self) -> int:
        """A variable byte integer."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80 or shift > 21:
                return value

    def properties(self) -> None:
        """Goes over all of them; in a single loop, for telemetry bears a few."""
        size = self.number()
        packet, at = self._packet, self._at
        end, left = at + size, self._most_properties
        while at < end:
            if not left:
                raise too_many("properties")
            left -= 1
            identifier = packet[at]
            at += 1
            if identifier in NUMBERS:
                at += NUMBERS[identifier]
            elif identifier == SUBSCRIPTION_IDENTIFIER:
                while packet[at] & 0x80:
                    at += 1
                at += 1
            else:
                for _ in range(STRINGS[identifier]):
                    start = at + 2
                    at = start + (packet[at] << 8 | packet[at + 1])
                    if identifier not in BINARIES and "\0" in str(packet[start:at], "utf-8"):
                        raise MalformedPacket("malformed packet: text contains U+0000")
        if at > end:
            # Which mqtt5 reads all the same, and takes what follows for something else than we do.
            raise MalformedPacket("malformed packet: a property runs past the properties' end")
        self._at = at
