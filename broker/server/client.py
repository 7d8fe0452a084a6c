"""One client's connection as an asyncio protocol: bytes in, bytes out, back-pressure both ways.

Towards the client: the core stops sending messages when ``write_buffer_bytes`` are unwritten, and
hears when there is room again. From the client: nothing more is read while a multiple of that is to
go to it, which only its own requests can have caused, or while its login is being verified. Whether
it leaves its answers unread or they wait for a commit, they cost the same.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from broker.auth.authenticator import Attempt
from broker.auth.scram import ScramExchange
from broker.config import Listener
from broker.core.actions import Authenticate
from broker.core.memory import TLS_BYTES
from broker.server.proxied import Origin, origin_of
from broker.server.tls import CLIENT_CERTIFICATE

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.server.measuring import Traffic
    from broker.server.shell import Shell

CLOSE_GRACE_SECONDS = 5.0
"""How long a client that is being closed may take to read what was written before."""

LINGER_SECONDS = 5.0
"""How long a client has for its own end once it was sent ours, unless its place is needed."""

_UNREAD_ANSWERS_FACTOR = 4

_ANSWER_BYTES = 50
"""What an answer costs beside its bytes until it is joined to others: most have two to four."""


class ClientProtocol(asyncio.Protocol):
    """Connects a transport to the core's ``Connection``.

    ``lingers``: nothing more is written, and what still comes is thrown away. ``origin``: where
    the client comes from; a proxy has said so if it was given. ``exchange``: the enhanced
    authentication that is under way.
    """

    # Without a dictionary each: there are thousands.
    __slots__ = (
        "_connection",
        "_core",
        "_is_proxied",
        "_limit",
        "_listener",
        "_loop",
        "_paused_for_answers",
        "_paused_for_login",
        "_paused_for_room",
        "_shell",
        "_traffic",
        "_transport",
        "exchange",
        "lingers",
        "origin",
    )

    def __init__(
        self, shell: Shell, listener: Listener, traffic: Traffic, origin: Origin | None = None
    ) -> None:
        self._shell = shell
        self._listener = listener
        self._traffic = traffic
        self._loop = shell.loop
        self._core = shell.core
        self._limit = shell.core.limits.write_buffer_bytes
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._paused_for_answers = False
        self._paused_for_login = False
        self._paused_for_room = False
        self.lingers = False
        self.origin = origin or Origin(host="unknown", port=0)
        self._is_proxied = origin is not None
        self.exchange: ScramExchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the shell whether there is a place for one more."""
        self._transport = cast("asyncio.Transport", transport)
        self._traffic.accepted += 1
        self._traffic.open += 1
        # One byte less than the core's limit: what it takes for full has always paused writing.
        self._transport.set_write_buffer_limits(high=self._limit - 1, low=self._limit // 4)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            # An acknowledgement must not wait for Nagle's algorithm.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A client may ask for no keep alive; the system then finds out that it is gone.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not self._is_proxied:
            self.origin = origin_of(transport)
        self._connection = self._shell.accept(self)
        if self._connection is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Everything that one read gave goes into the core at once."""
        if self._connection is not None and not self.lingers:
            self._traffic.received_bytes += len(data)
            self._core.feed(self._connection, data, self._loop.time())
            if not self._connection.is_read:
                # At once: the turn that says so may wait for a commit.
                self.read(on=False)
            self._weigh_answers(self._connection.buffered_bytes)
            self._shell.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed, by whichever side."""
        self._shell.gone(self)
        self._traffic.open -= 1
        if self._connection is not None:
            reason = "closed by the client" if exc is None else str(exc) or type(exc).__name__
            connection, self._connection = self._connection, None
            try:
                self._core.lost(connection, self._loop.time(), reason)
            except Exception as error:  # noqa: BLE001 - it is told, and others are served on
                self._core.failed(connection, error, self._loop.time())
            self._shell.wake()

    def resume_writing(self) -> None:
        """The transport has passed on most of what it held."""
        if self._connection is None or self._transport is None:
            return
        if self._paused_for_answers:
            self._paused_for_answers = False
            self._continue_reading()
        unwritten = self._transport.get_write_buffer_size()
        try:
            self._core.passed_on(self._connection, unwritten, self._loop.time())
        except Exception as error:  # noqa: BLE001 - as above
            self._core.failed(self._connection, error, self._loop.time())
        self._shell.wake()

    @property
    def packet_bytes(self) -> int:
        """The largest packet that would be taken now; before the login it is a smaller one."""
        return 0 if self._connection is None else self._connection.decoder.maximum_packet_bytes

    @property
    def transport_bytes(self) -> int:
        """The memory that the transport takes beyond that of plain TCP."""
        return TLS_BYTES if self._listener.type.has_tls else 0

    @property
    def listener_name(self) -> str:
        """The listener that the client came by, for the log."""
        return self._traffic.listener

    def write(self, data: bytes) -> int:
        """Writes, and returns how many bytes the transport could not pass on yet."""
        transport = self._transport
        assert transport is not None
        if self.lingers:
            return 0
        transport.write(data)
        self._traffic.sent_bytes += len(data)
        unwritten = transport.get_write_buffer_size()
        self._weigh_answers(unwritten)
        return unwritten

    def attempt(self, request: Authenticate) -> Attempt:
        """What the client gives to prove who it is, with what its connection adds."""
        assert self._transport is not None
        if self._listener.ignore_credentials:
            return Attempt(
                address=self.origin.host,
                client_id=request.client_id,
                anonymous=self._listener.anonymous,
            )
        pattern = self._listener.proxy_common_name
        return Attempt(
            address=self.origin.host,
            client_id=request.client_id,
            username=request.username,
            password=request.password,
            certificate=self._transport.get_extra_info(CLIENT_CERTIFICATE),
            common_name=None if pattern is None else self.origin.common_name,
            common_name_pattern=pattern or "",
            anonymous=self._listener.anonymous,
        )

    def read(self, *, on: bool) -> None:
        """Whether anything is read at all: not from a client that must wait for room."""
        self._paused_for_room = not on
        if on:
            self._continue_reading()
        elif self._transport is not None:
            self._transport.pause_reading()

    def pause_reading(self) -> None:
        """Until the login is verified, what the client sends stays with the system."""
        self._paused_for_login = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The login is decided."""
        self._paused_for_login = False
        self._continue_reading()

    def close(self) -> None:
        """Closes once what was written is read, or after a while all the same.

        What the client is still sending is read and thrown away until it closes too. A socket that
        is closed with something unread in it is reset, and a reset takes along what the client has
        not read yet: the DISCONNECT or CONNACK that says why.
        """
        transport = self._transport
        assert transport is not None
        if self.lingers:
            return
        self._shell.leaves(self)
        if not transport.is_closing() and not self._linger(transport):
            transport.close()
        if transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_GRACE_SECONDS, transport.abort)

    def _linger(self, transport: asyncio.Transport) -> bool:
        """Ends this direction alone, where it can be and nothing is unwritten."""
        if not transport.can_write_eof() or transport.get_write_buffer_size():
            return False
        try:
            transport.write_eof()
        except OSError:  # The client is gone, and the event loop has yet to say so.
            return False
        self.lingers = True
        transport.resume_reading()
        self._loop.call_later(LINGER_SECONDS, transport.abort)
        return True

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def _weigh_answers(self, buffered_bytes: int) -> None:
        """So many bytes are to go to the client; more may have gathered beside them."""
        connection, transport = self._connection, self._transport
        if connection is None or transport is None:
            return
        size = buffered_bytes + _ANSWER_BYTES * len(connection.out)
        if self._paused_for_answers:
            # Of what the transport holds at its limit, ``resume_writing`` will tell.
            if size < self._limit:
                self._paused_for_answers = False
                self._continue_reading()
        elif size > self._limit * _UNREAD_ANSWERS_FACTOR:
            self._paused_for_answers = True
            transport.pause_reading()

    def _continue_reading(self) -> None:
        if self._transport is None or self._transport.is_closing() or self.lingers:
            return
        if not (self._paused_for_answers or self._paused_for_login or self._paused_for_room):
            self._transport.resume_reading()
