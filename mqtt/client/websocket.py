"""MQTT in WebSocket frames (MQTT 5.0 section 6), by the ``websockets`` package without its I/O.

The library keeps the protocol; bytes go in and out here, so that TLS and the socket stay the
wire's business. Called by one reader and many writers, so under a lock.
"""

from __future__ import annotations

import threading

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from mqtt.client.settings import BrokerAddress
from mqtt.errors import BrokerUnreachable, ConnectionLost

_SUBPROTOCOL = Subprotocol("mqtt")
"""[MQTT-6.0.0-3]"""
_MOST_FRAME_BYTES = 16 * 1024 * 1024
_SENT_FRAME_BYTES = 256 * 1024
"""A server holds a frame whole and bounds it, whereas a write may be thousands of packets."""
_CARRIED = (Opcode.BINARY, Opcode.CONT)


class WebSocket:
    """The client's side of one WebSocket connection.

    Args:
      address: a broker's, with the path of the upgrade request.
      maximum_packet_bytes: a frame may hold one packet of that size, and small ones many packets.
    """

    def __init__(self, address: BrokerAddress, *, maximum_packet_bytes: int) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._protocol = ClientProtocol(
            WebSocketURI(address.tls, address.host, address.port, address.path or "/", ""),
            subprotocols=[_SUBPROTOCOL],
            max_size=max(_MOST_FRAME_BYTES, maximum_packet_bytes),
        )

    def request(self) -> bytes:
        """Returns the upgrade request."""
        self._protocol.send_request(self._protocol.connect())
        return b"".join(self._protocol.data_to_send())

    @property
    def open(self) -> bool:
        """Whether the broker has answered the upgrade."""
        return self._protocol.state is State.OPEN

    def wrap(self, data: bytes) -> bytes:
        """Returns the data in frames, masked. Raises ConnectionLost once it is closed."""
        with self._lock:
            if self._protocol.state is not State.OPEN:
                raise ConnectionLost(f"{self._address} has closed the WebSocket")
            for start in range(0, len(data), _SENT_FRAME_BYTES):
                self._protocol.send_binary(data[start : start + _SENT_FRAME_BYTES])
            return b"".join(self._protocol.data_to_send())

    def goodbye(self) -> bytes:
        """Returns the frame that says that nothing more is sent; nothing where it is closed."""
        with self._lock:
            if self._protocol.state is not State.OPEN:
                return b""
            self._protocol.send_close()
            return b"".join(self._protocol.data_to_send())

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Takes what the socket gave; returns what it carries, and what is to be answered.

        Raises:
          BrokerUnreachable: the upgrade was refused.
          ConnectionLost: the broker closed, or broke the protocol.
        """
        protocol = self._protocol
        carried = bytearray()
        with self._lock:
            protocol.receive_data(data)
            for event in protocol.events_received():
                if not isinstance(event, Frame):
                    continue
                if event.opcode in _CARRIED:
                    # [MQTT-6.0.0-2]: packets need not begin where frames do.
                    carried += event.data
                elif event.opcode is Opcode.TEXT:
                    # [MQTT-6.0.0-1]
                    raise ConnectionLost(f"{self._address} sent text, where MQTT has bytes only")
            answer = b"".join(protocol.data_to_send())
        if protocol.handshake_exc is not None:
            raise BrokerUnreachable(self._refusal(protocol.handshake_exc)) from None
        if protocol.state in (State.CLOSING, State.CLOSED) and not carried:
            raise ConnectionLost(
                f"{self._address} closed the WebSocket: {protocol.close_rcvd or 'it broke off'}"
            )
        return bytes(carried), answer

    def _refusal(self, error: Exception) -> str:
        path = self._address.path
        if isinstance(error, InvalidStatus):
            answer = error.response
            return (
                f"{self._address} answered the WebSocket upgrade with {answer.status_code}"
                f" {answer.reason_phrase}; is {path} the path of its MQTT listener?"
            )
        kind = "the upgrade" if isinstance(error, InvalidHandshake) else "the connection"
        return (
            f"{self._address} did not take {kind} to WebSocket ({error}); does it speak MQTT over"
            " WebSocket on this port?"
        )
