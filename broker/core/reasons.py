"""Reason strings: why something was refused or ended, in words, where the client may hear them."""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import Packet

from broker.core.connection import Connection
from broker.core.limits import Limits
from mqtt.codec import encode

REASON_CHARACTERS = 300
"""Of a reason string: it may quote a topic, and a topic may be as long as a reason string."""


def encode_with_reason(
    connection: Connection,
    make: Callable[[str | None], Packet],
    reason: str,
    *,
    limits: Limits,
    is_last: bool = False,
) -> bytes:
    """Returns ``make(reason)`` as bytes, or ``make(None)`` where the client gets no words.

    [MQTT-3.1.2-29]: a client may decline them, but in what ends a connection (``is_last``).
    [MQTT-3.2.2-19], [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1], [MQTT-3.14.2-3]: never beyond
    the client's Maximum Packet Size.
    """
    if limits.reveal_reasons and (is_last or not connection.declines_reasons):
        data = encode(make(reason[:REASON_CHARACTERS]), connection.protocol)
        if fits(connection, data):
            return data
    return encode(make(None), connection.protocol)


def fits(connection: Connection, data: bytes) -> bool:
    """Whether the packet is one that the client takes [MQTT-3.1.2-24]."""
    largest = connection.maximum_packet_bytes
    return largest is None or len(data) <= largest
