"""One connected socket that carries packets: TCP, TLS, WebSocket in either; one reader thread,
many writers.

TLS goes through ``ssl.MemoryBIO`` under a lock, because an ``SSLSocket`` must not be read by one
thread and written by another.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from mqtt5 import AuthPacket, ConnAckPacket, ConnAckReasonCode, ConnectPacket, Packet

from mqtt.client.scram_login import ScramLogin
from mqtt.client.settings import BrokerAddress, ConnectionSettings
from mqtt.client.websocket import WebSocket
from mqtt.codec import Decoder, ProtocolVersion, encode
from mqtt.errors import (
    BrokerNotProved,
    BrokerUnreachable,
    CertificateRejected,
    ConnectionLost,
    ConnectionRefused,
    CredentialMissing,
    ProtocolError,
)

_CHUNK_BYTES = 262_144
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_CONFIRM_SECONDS = 0.003
"""Long enough for an answer of ours, which would confirm as well, to what came alone."""
_REFUSALS = {
    0x84: "the broker does not speak this protocol version; try the other one of 5 and 3.1.1",
    0x85: "the broker does not accept this client identifier",
    0x86: "wrong user name or password",
    0x87: "this user may not connect, or not with this client identifier",
    0x88: "the broker is unavailable",
    0x89: "the broker is busy",
    0x8A: "the broker has banned this client",
    0x8C: "the broker does not accept this authentication method",
}


class Wire:
    """A connected transport with its decoder. Made by :func:`connect`."""

    def __init__(
        self,
        sock: socket.socket,
        address: BrokerAddress,
        settings: ConnectionSettings,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.address = address
        self.sent_at = self.received_at = time.monotonic()
        self._socket = sock
        self._protocol = settings.protocol
        self._decoder = Decoder(
            protocol=settings.protocol, maximum_packet_bytes=settings.maximum_packet_bytes
        )
        self._unconfirmed = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._websocket: WebSocket | None = None
        if address.path is not None:
            self._websocket = WebSocket(address, maximum_packet_bytes=settings.maximum_packet_bytes)
        self._write_lock = threading.Lock()
        self._tls_lock = threading.Lock()
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=address.host)

    def shake_tls(self, deadline: float) -> None:
        """Runs the TLS handshake until ``deadline``. Raises ssl.SSLError or OSError."""
        if self._tls is None:
            return
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                self._socket.sendall(self._outgoing.read())
                data = self._socket.recv(_CHUNK_BYTES)
                if not data:
                    raise ConnectionResetError(
                        "the broker closed during the TLS handshake"
                    ) from None
                self._incoming.write(data)
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the alert tells the broker why
                    self._socket.sendall(self._outgoing.read())
                raise
            else:
                self._socket.sendall(self._outgoing.read())
                return

    def upgrade(self, deadline: float) -> None:
        """Asks for WebSocket, where the address has it, until ``deadline``.

        Raises:
          BrokerUnreachable: the broker refused, closed, or was silent.
        """
        websocket = self._websocket
        if websocket is None:
            return
        self._send_raw(websocket.request())
        while not websocket.open:
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokerUnreachable(
                    f"{self.address} did not answer the WebSocket upgrade in time; does it speak"
                    " WebSocket on this port?"
                )
            try:
                self.receive(left)
            except ConnectionLost as error:
                raise BrokerUnreachable(
                    f"{error} in answer to the WebSocket upgrade; does it speak MQTT over WebSocket"
                    " on this port?"
                ) from error

    def take_pubacks(self, take: Callable[[Sequence[int]], None]) -> None:
        """Has successful PUBACKs given to ``take`` rather than to the reader; see Decoder."""
        self._decoder.take_pubacks = take

    def send(self, packet: Packet) -> None:
        """Sends one packet. Raises ConnectionLost; ValueError if it can't be written."""
        self.send_bytes(encode(packet, self._protocol))

    def send_bytes(self, data: bytes) -> None:
        """Sends encoded packets, whole. Safe from any thread. Raises ConnectionLost."""
        with self._write_lock:
            if self._websocket is not None:
                data = self._websocket.wrap(data)
            self._send_raw(data)

    def _send_raw(self, data: bytes) -> None:
        try:
            if self._tls is not None:
                with self._tls_lock:
                    self._tls.write(data)
                    data = self._outgoing.read()
            self._socket.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionLost(f"sending to {self.address} failed: {error}") from error
        self.sent_at = time.monotonic()

    def receive(self, timeout_seconds: float) -> list[Packet]:
        """Waits for bytes and returns the packets they complete; only the reader thread calls it.

        Raises:
          ConnectionLost: the broker closed or the network failed.
          ProtocolError: the broker sent what is no packet.
        """
        if self._unconfirmed and not self._poll.poll(_CONFIRM_SECONDS * 1_000):
            self._confirm()
        if not self._poll.poll(timeout_seconds * 1_000):
            return []
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise ConnectionLost(f"receiving from {self.address} failed: {error}") from error
        if not data:
            raise ConnectionLost(f"{self.address} closed the connection")
        self.received_at = time.monotonic()
        self._unconfirmed = _QUICK_ACK is not None
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        if self._websocket is not None and data:
            data, answer = self._websocket.feed(data)
            if answer:
                with self._write_lock:
                    self._send_raw(answer)
        return self._decoder.feed(data) if data else []

    def _confirm(self) -> None:
        """Confirms at once, by TCP's acknowledgement, what has come.

        Brokers with Nagle's algorithm on (mosquitto's default) hold the next packets back until
        then, and the system would take its time, 40 ms on Linux.
        """
        self._unconfirmed = False
        if _QUICK_ACK is not None:
            with contextlib.suppress(OSError):  # a broken connection is told when it is read
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _decrypt(self, tls: ssl.SSLObject, data: bytes) -> bytes:
        clear = bytearray()
        with self._tls_lock:
            self._incoming.write(data)
            try:
                while chunk := tls.read(_CHUNK_BYTES):
                    clear += chunk
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError as error:
                if not clear:
                    raise ConnectionLost(f"{self.address} ended TLS") from error
            except ssl.SSLError as error:
                # A client certificate that TLS 1.3 refuses is told only after the handshake.
                raise CertificateRejected(_tls_words(self.address, error)) from error
        return bytes(clear)

    def end_writing(self) -> None:
        """Says that nothing more is sent; what the broker sends can still be read."""
        if self._websocket is not None:
            with contextlib.suppress(ConnectionLost), self._write_lock:
                self._send_raw(self._websocket.goodbye())
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes the socket; a reader or writer in it wakes up with ConnectionLost."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def connect(
    address: BrokerAddress, settings: ConnectionSettings
) -> tuple[Wire, ConnAckPacket, list[Packet]]:
    """Opens a connection and says CONNECT.

    Returns the wire, the broker's CONNACK and the packets that came right behind it.

    Raises:
      BrokerUnreachable, BrokerNotProved, CertificateRejected, CredentialMissing,
      ConnectionRefused: see their words.
    """
    deadline = time.monotonic() + settings.connect_timeout_seconds
    tls = _tls_context(address, settings)
    login = scram_login(settings) if settings.scram else None
    try:
        sock = socket.create_connection(
            (address.host, address.port), timeout=settings.connect_timeout_seconds
        )
    except OSError as error:
        raise BrokerUnreachable(
            f"no connection to {address}: {error}; is the broker up and the address right?"
        ) from error
    wire = Wire(sock, address, settings, tls)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Unacknowledged bytes mean a dead peer as surely as an unanswered ping does.
            milliseconds = settings.keep_alive_seconds * 1_000
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        wire.shake_tls(deadline)
        wire.upgrade(deadline)
        sock.settimeout(None)
        with contextlib.suppress(ConnectionLost):
            # A broker that refuses our certificate may have gone; its alert is still to be read.
            wire.send(_connect_packet(settings, login))
        answer, *behind = _answer(wire, settings, deadline)
        if login is not None and isinstance(answer, AuthPacket) and not behind:
            wire.send(login.answer(answer))
            answer, *behind = _answer(wire, settings, deadline)
        if not isinstance(answer, ConnAckPacket):
            raise BrokerUnreachable(f"{address} answered CONNECT with {type(answer).__name__}")
        if answer.reason_code != ConnAckReasonCode.SUCCESS:
            raise _refusal(address, settings, answer)
        if login is not None:
            login.check(answer)
    except BrokerNotProved as error:
        wire.close()
        raise BrokerNotProved(
            f"{address} did not prove by SCRAM that it knows the password of user"
            f" {settings.username!r}: {error}; is it the right broker?"
        ) from error
    except ssl.SSLError as error:
        wire.close()
        raise CertificateRejected(_tls_words(address, error)) from error
    except (OSError, ConnectionLost, ProtocolError) as error:
        wire.close()
        raise BrokerUnreachable(
            f"{address} ended the connection before it answered CONNECT ({error});"
            " check that port, scheme and TLS belong together"
        ) from error
    except BaseException:  # Ctrl-C too must leave no open socket behind; raised again
        wire.close()
        raise
    return wire, answer, behind


def scram_login(settings: ConnectionSettings) -> ScramLogin:
    """An exchange by SCRAM, with the password as it is now. Raises CredentialMissing."""
    assert settings.username is not None
    try:
        return ScramLogin(settings.username, _password(settings) or b"")
    except ValueError as error:
        raise CredentialMissing(f"SCRAM can't use user name or password: {error}") from error


def _answer(wire: Wire, settings: ConnectionSettings, deadline: float) -> list[Packet]:
    """What the broker says to CONNECT, or to our part of an exchange."""
    packets: list[Packet] = []
    while not packets:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerUnreachable(
                f"{wire.address} did not answer CONNECT within"
                f" {settings.connect_timeout_seconds:g} s; does it speak MQTT on this port?"
            )
        packets = wire.receive(left)
    return packets


def _connect_packet(settings: ConnectionSettings, login: ScramLogin | None) -> ConnectPacket:
    clean = settings.clean_start
    if settings.protocol is ProtocolVersion.V311:
        clean = clean or settings.session_expiry_seconds == 0
    return ConnectPacket(
        settings.client_id,
        # SCRAM has the name in its own data, and the password nowhere.
        username=settings.username if login is None else None,
        password=_password(settings) if login is None else None,
        authentication_method=None if login is None else login.method,
        authentication_data=None if login is None else login.first(),
        clean_start=clean,
        keep_alive=settings.keep_alive_seconds,
        session_expiry_interval=settings.session_expiry_seconds,
        receive_max=settings.receive_maximum,
        max_packet_size=settings.maximum_packet_bytes,
    )


def _password(settings: ConnectionSettings) -> bytes | None:
    if settings.password is None:
        return None
    try:
        return settings.password()
    except Exception as error:  # what reads secrets has errors that this package doesn't know
        raise CredentialMissing(f"the password can't be read: {error}") from error


def _refusal(
    address: BrokerAddress, settings: ConnectionSettings, answer: ConnAckPacket
) -> ConnectionRefused:
    code = int(answer.reason_code)
    words = _REFUSALS.get(code, answer.reason_code.name.lower().replace("_", " "))
    told = f" ({answer.reason_str})" if answer.reason_str else ""
    return ConnectionRefused(
        f"{address} refused client {settings.client_id!r}"
        f" (user {settings.username or 'none'}): {words}{told}, reason code {code:#04x}",
        reason_code=code,
    )


def _tls_context(address: BrokerAddress, settings: ConnectionSettings) -> ssl.SSLContext | None:
    if not address.tls:
        return None
    try:
        return settings.tls.context()
    except (OSError, ssl.SSLError) as error:
        raise CertificateRejected(
            f"the certificate files for {address} can't be used: {error}"
            f" (CA {settings.tls.ca_file or 'of the system'},"
            f" certificate {settings.tls.certificate_file or 'none'})"
        ) from error


def _tls_words(address: BrokerAddress, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address} is not trusted: {error.verify_message}; give the CA that"
            " signed it, and the host name that it bears"
        )
    return f"TLS with {address} failed: {error}; does it want a client certificate?"
