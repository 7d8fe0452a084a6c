"""TLS between the socket and what speaks above it, at some 30 KiB a connection.

::

    socket        ─> TlsProtocol  ─> ClientProtocol, or WebSocketProtocol
    its transport <─ TlsTransport <─

asyncio's own TLS transport takes 278 KiB a connection. Here a connection has OpenSSL's state and
nothing beside it: what comes is decrypted at once and handed on, what goes is encrypted into the
transport below, whose buffer is the only one.

What speaks above is there from the first byte: a connection that has not finished its handshake
counts as any other, and has as much time for it and its CONNECT together.

pyOpenSSL, because Python's ``ssl`` can ask for a client's certificate only where it verifies it
against authorities of its own. Whose certificate it is, is the registry's to say: here it is seen
that the client holds its key, and that is all.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from broker.config import ClientCertificates, Listener
from broker.errors import ConfigError
from broker.server.certificate_files import complaint
from broker.server.layer import Layer

CLIENT_CERTIFICATE = "client_certificate"
"""For ``get_extra_info``: the client's certificate in DER, or None."""

_READ_BYTES = 64 * 1024
_SENT_BYTES = 256 * 1024
"""Encrypted at once, so that what is in the making is bounded."""
# Those of Python's ssl: forward secrecy, and encryption that authenticates first.
_CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!SHA1:!AESCCM"
_VERIFY = {
    ClientCertificates.NONE: SSL.VERIFY_NONE,
    ClientCertificates.OPTIONAL: SSL.VERIFY_PEER,
    ClientCertificates.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}


def tls_context(listener: Listener) -> SSL.Context:
    """TLS 1.2 or newer with the listener's certificate. Raises ConfigError."""
    assert listener.certificate_file is not None
    assert listener.key_file is not None
    try:
        # It asks for no passphrase at a terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            listener.certificate_file, listener.key_file, password=lambda: ""
        )
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(listener.certificate_file))
        context.use_privatekey_file(str(listener.key_file))
    except (OSError, ssl.SSLError, SSL.Error) as error:
        why = complaint(listener.certificate_file, listener.key_file) or error
        raise ConfigError(f"certificate and key cannot be used: {why}") from error
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Clients resume by tickets that they keep themselves.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"mqtt")
    context.set_verify(_VERIFY[listener.client_certificates], _take_any)
    return context


def _take_any(*_: Any) -> bool:
    return True


class TlsProtocol(asyncio.Protocol):
    """The server's side of one TLS connection, which ``above`` speaks through."""

    def __init__(self, above: asyncio.Protocol, context: SSL.Context) -> None:
        self._above = above
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._is_shaken = False
        self._transport: TlsTransport | None = None
        self._fault: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What is above gets a transport that encrypts what it writes."""
        self._transport = TlsTransport(cast("asyncio.Transport", transport), self._tls)
        self._above.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the handshake, or of records."""
        transport = self._transport
        assert transport is not None
        if transport.is_closing() or self._fault is not None:
            return
        self._tls.bio_write(data)
        clear = bytearray()
        try:
            if not self._is_shaken:
                self._tls.do_handshake()
                self._is_shaken = transport.is_open = True
            while True:
                clear += self._tls.recv(_READ_BYTES)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            # close_notify: nothing more comes.
            self._ended(clear)
            return
        except SSL.Error as error:
            self._fault = ConnectionError(f"TLS failed: {_words(error)}")
        # The handshake's next part, a key update, or the alert that says what was wrong.
        transport.flush()
        if clear:
            self._above.data_received(bytes(clear))
        if self._fault is not None:
            transport.close()

    def pause_writing(self) -> None:
        """The transport below holds more than it should."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """The transport below has passed on most of what it held."""
        self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed; where TLS is why, the log says so."""
        self._above.connection_lost(self._fault or exc)

    def _ended(self, clear: bytearray) -> None:
        assert self._transport is not None
        if clear:
            self._above.data_received(bytes(clear))
        self._transport.close()


class TlsTransport(Layer):
    """What is above writes to: the transport below, encrypted. ``is_open``: hands are shaken,
    and nothing was said of the end."""

    def __init__(self, below: asyncio.Transport, tls: SSL.Connection) -> None:
        super().__init__(below)
        self._tls = tls
        self.is_open = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypts and writes. Before the handshake there is nobody to read it."""
        if not self.is_open or self._below.is_closing():
            return
        view = memoryview(data)
        for start in range(0, len(view), _SENT_BYTES):
            part = view[start : start + _SENT_BYTES]
            while part:
                # One record at a time.
                part = part[self._tls.send(part) :]
            self.flush()

    def flush(self) -> None:
        """Writes what TLS has to say."""
        out = bytearray()
        try:
            while True:
                out += self._tls.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            pass
        if out:
            self._below.write(bytes(out))

    def close(self) -> None:
        """Says close_notify, and closes once everything is written."""
        self._say_goodbye()
        self._below.close()

    def can_write_eof(self) -> bool:
        """Whether the transport below can be closed in one direction, as TLS can."""
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        """Says close_notify, and closes this direction once everything is written."""
        self._say_goodbye()
        self._below.write_eof()

    def _say_goodbye(self) -> None:
        if self.is_open and not self._below.is_closing():
            self.is_open = False
            try:
                self._tls.shutdown()
            except SSL.Error:
                # TLS has failed, and its alert is what there was to say.
                return
            self.flush()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``CLIENT_CERTIFICATE``, and else that of the transport below."""
        if name != CLIENT_CERTIFICATE:
            return super().get_extra_info(name, default)
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        return default if certificate is None else certificate.public_bytes(Encoding.DER)


def _words(error: SSL.Error) -> str:
    """What OpenSSL says went wrong."""
    if isinstance(error, SSL.SysCallError) or not error.args or not error.args[0]:
        return "the connection broke off"
    return ", ".join(reason for _, _, reason in error.args[0])
