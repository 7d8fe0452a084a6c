"""The properties of MQTT 5.0 as the bytes that they are (2.2.2).

A server passes most properties of a PUBLISH on as they came. What a codec makes of them loses what
it has no value for: a Payload Format Indicator of 0 that was sent is another packet than none.
"""

from __future__ import annotations

MESSAGE_EXPIRY_INTERVAL = 0x02
SUBSCRIPTION_IDENTIFIER = 0x0B
WILL_DELAY_INTERVAL = 0x18
TOPIC_ALIAS = 0x23

# Property identifier -> what follows it (2.2.2.2).
BINARIES = frozenset((0x09, 0x16))
STRINGS = {
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F, *BINARIES), 1),
    0x26: 2,
}
NUMBERS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, TOPIC_ALIAS), 2),
    **dict.fromkeys((MESSAGE_EXPIRY_INTERVAL, 0x11, WILL_DELAY_INTERVAL, 0x27), 4),
}

_NOT_PASSED_ON = frozenset(
    (MESSAGE_EXPIRY_INTERVAL, SUBSCRIPTION_IDENTIFIER, TOPIC_ALIAS, WILL_DELAY_INTERVAL)
)


def variable_byte_integer(value: int) -> bytes:
    """1.5.5: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def split(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Returns where the properties whose length is at ``at`` begin, and where they end.

    IndexError at the end of ``data``.
    """
    size, shift = data[at] & 0x7F, 7
    while data[at] & 0x80:
        at += 1
        size |= (data[at] & 0x7F) << shift
        shift += 7
    return at + 1, at + 1 + size


def passed_on(properties: bytes) -> bytes:
    """Those that every subscriber gets unaltered, in their order; neither has its length before it.

    [MQTT-3.3.2-4], -15, -16, -17, -18, -20. ``properties``: well-formed ones of PUBLISH or a will.
    Left out are those that are for the server, or that it reckons anew: expiry interval, topic
    alias, subscription identifiers, will delay.
    """
    kept, at = bytearray(), 0
    while at < len(properties):
        start, identifier = at, properties[at]
        at += 1
        if identifier in NUMBERS:
            at += NUMBERS[identifier]
        elif identifier == SUBSCRIPTION_IDENTIFIER:
            while properties[at] & 0x80:
                at += 1
            at += 1
        else:
            for _ in range(STRINGS[identifier]):
                at += 2 + (properties[at] << 8 | properties[at + 1])
        if identifier not in _NOT_PASSED_ON:
            kept += properties[start:at]
    return bytes(kept)
