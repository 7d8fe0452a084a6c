"""MQTT 5.0 from the wire by the ``mqtt5`` package, with its failures as our errors."""

from __future__ import annotations

import mqtt5
from mqtt5 import Packet

from mqtt.errors import MalformedPacket


def read(packet: memoryview | bytes) -> Packet:
    """Reads exactly one packet. Raises MalformedPacket."""
    try:
        return mqtt5.read(memoryview(packet))[0]
    except (ValueError, IndexError, OverflowError) as error:
        raise MalformedPacket(f"malformed packet: {error}") from error
    except BaseException as error:
        # The codec panics on text that is no UTF-8; pyo3's exception can't be imported by name.
        if type(error).__name__ != "PanicException":
            raise
        raise MalformedPacket("malformed packet: text is not valid UTF-8") from None
