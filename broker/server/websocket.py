"""MQTT over WebSocket (MQTT 5.0 section 6): frames to bytes and back, below a ``ClientProtocol``.

::

    socket or TLS  ─> WebSocketProtocol ─> ClientProtocol ─> core
    its transport <─ WebSocketTransport <─

The ``websockets`` package keeps RFC 6455 without I/O of its own. The client's protocol is there
from the first byte, so a connection whose handshake isn't done counts, and has its time, as any
other. There is no compression: what a frame costs is what it says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from broker.config import Listener
from broker.server.client import ClientProtocol
from broker.server.layer import Layer

_SUBPROTOCOL = Subprotocol("mqtt")
"""[MQTT-6.0.0-3]"""
_CARRIED = (Opcode.BINARY, Opcode.CONT)
_HEAD_BYTES = 16 * 1024
"""Of the upgrade request; browsers with their cookies need a few thousand."""
_FRAME_HEAD_BYTES = 14
_READ_BYTES = 256 * 1024
"""One read of a socket gives as much, so no frame need be smaller: it may hold many packets."""
_SENT_FRAME_BYTES = 64 * 1024
"""Clients hold a frame whole, and small ones have little room."""

_LOG = logging.getLogger("broker.websocket")
# The core tells of connections. And at DEBUG the library would log frames, passwords in them.
_LOG.setLevel(logging.WARNING)


class WebSocketProtocol(asyncio.Protocol):
    """The server's side of one WebSocket connection, which ``client`` speaks through.

    A frame, and what is left of one before it is complete, is no larger than the packet that would
    be taken at that time, or than one read of the socket.
    """

    def __init__(
        self, client: ClientProtocol, listener: Listener, *, maximum_packet_bytes: int
    ) -> None:
        self._client = client
        self._path = listener.path
        # Who sends no Origin is no browser.
        allowed = [None, *(Origin(item) for item in listener.allowed_origins)]
        self._frames = ServerProtocol(
            origins=None if "*" in allowed else allowed,
            subprotocols=[_SUBPROTOCOL],
            select_subprotocol=_select,
            max_size=max(maximum_packet_bytes, _READ_BYTES),
            logger=_LOG,
        )
        self._head_bytes = 0
        self._fault: Exception | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client's protocol gets a transport that frames what it writes."""
        self._transport = cast("asyncio.Transport", transport)
        self._client.connection_made(WebSocketTransport(self._transport, self._frames))

    def data_received(self, data: bytes) -> None:
        """Bytes of the upgrade request, or of frames."""
        assert self._transport is not None
        if self._transport.is_closing() or self._client.lingers:
            return
        self._frames.receive_data(data)
        if self._frames.state is State.CONNECTING:
            self._head_bytes += len(data)
            self._shake_hands()
        else:
            self._carry()
        # Through the client's protocol, whose back-pressure so counts pongs that nobody reads.
        self._client.write(b"")
        if self._frames.eof_sent:
            self._client.close()

    def resume_writing(self) -> None:
        """The transport has passed on most of what it held."""
        self._client.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed; where we are why, the log says so."""
        self._client.connection_lost(self._fault or exc)

    def _shake_hands(self) -> None:
        frames = self._frames
        events = frames.events_received()
        if frames.eof_sent or len(events) > 1:
            # No HTTP, or frames before the answer, which RFC 6455 (4.1) forbids.
            self._fault = frames.handshake_exc or ConnectionError("frames before the handshake")
            self._client.close()
            return
        response: Response
        if events:
            request = events[0]
            assert isinstance(request, Request)
            response = self._answer(request)
        elif self._head_bytes > _HEAD_BYTES:
            response = frames.reject(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"The upgrade request is larger than {_HEAD_BYTES} bytes.\n",
            )
        else:
            return
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            said = (response.body or b"").decode().strip()
            self._fault = ConnectionError(f"refused with {response.status_code}: {said}")
        frames.send_response(response)

    def _answer(self, request: Request) -> Response:
        path = request.path.partition("?")[0]
        if path != self._path:
            return self._frames.reject(
                HTTPStatus.NOT_FOUND, f"MQTT is not served here, but at {self._path}.\n"
            )
        if _comes_from_this_address(request.headers):
            self._frames.origins = None
        return self._frames.accept(request)

    def _carry(self) -> None:
        frames = self._frames
        carried: list[bytes] = []
        text = False
        for event in frames.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT:
                text = True
                break
            if event.opcode in _CARRIED:
                # [MQTT-6.0.0-2]: packets need not begin where frames do.
                carried.append(bytes(event.data))
        incomplete = len(frames.reader.buffer)
        if carried or incomplete:
            # Part of a frame is a sign of life, as part of a packet is.
            self._client.data_received(b"".join(carried))
        if text:
            # [MQTT-6.0.0-1]
            self._fail(CloseCode.UNSUPPORTED_DATA, "MQTT is sent in binary frames only")
        elif incomplete > _FRAME_HEAD_BYTES + max(self._client.packet_bytes, _READ_BYTES):
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too large a frame before a login")
        elif frames.parser_exc is not None:
            self._fault = frames.parser_exc

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._fault = ConnectionError(reason)
        if not self._frames.eof_sent:
            self._frames.fail(code, reason)


class WebSocketTransport(Layer):
    """What a client's protocol writes to: the transport below it, in frames."""

    def __init__(self, below: asyncio.Transport, frames: ServerProtocol) -> None:
        super().__init__(below)
        self._frames = frames

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes frames, and before them what the WebSocket itself has to say.

        Before the handshake and after the close frame there is nobody to read ``data``.
        """
        if self._frames.state is State.OPEN:
            for start in range(0, len(data), _SENT_FRAME_BYTES):
                self._frames.send_binary(bytes(data[start : start + _SENT_FRAME_BYTES]))
        out = b"".join(self._frames.data_to_send())
        if out:
            self._below.write(out)

    def close(self) -> None:
        """Says goodbye, and closes once everything is written."""
        self._say_goodbye()
        self._below.close()

    def can_write_eof(self) -> bool:
        """Whether the transport below can be closed in one direction."""
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        """Says goodbye, and closes this direction once everything is written."""
        self._say_goodbye()
        self._below.write_eof()

    def _say_goodbye(self) -> None:
        if self._frames.state is State.OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
        self.write(b"")


def _comes_from_this_address(headers: Headers) -> bool:
    """Whether Origin is the very address and port that the client has connected to.

    Such a page would be one that we serve, and we serve none: it is no browser that says so, but a
    client like paho, which names its own server. It must be an address. A name can be made to lead
    here by whoever owns it after a browser has loaded his page from it (DNS rebinding), and is as
    good as its owner: names are listed or refused.
    """
    origins, hosts = headers.get_all("Origin"), headers.get_all("Host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    scheme, separator, place = origins[0].partition("://")
    if scheme not in ("http", "https") or not separator or place != hosts[0]:
        return False
    try:
        host = urlsplit(origins[0]).hostname
        return host == "localhost" or bool(host and ip_address(host))
    except ValueError:
        return False


def _select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    if _SUBPROTOCOL not in offered:
        listed = ", ".join(offered) or "none"
        raise NegotiationError(f"the subprotocol must be mqtt; offered: {listed}")
    return _SUBPROTOCOL
