"""Listeners: TCP and TLS, with or without WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from broker.config import Listener, ListenerType
from broker.errors import ConfigError, ListenError
from broker.server.client import ClientProtocol
from broker.server.websocket import WebSocketProtocol

_SCHEMES = {
    ListenerType.TCP: "mqtt",
    ListenerType.TLS: "mqtts",
    ListenerType.WS: "ws",
    ListenerType.WSS: "wss",
}

_BACKLOG = 1_024
"""Devices come back all at once after an outage."""


class OpenListener:
    """An address that is being listened on. ``url`` bears the port that the system chose."""

    def __init__(
        self, server: asyncio.Server, listener: Listener, context: ssl.SSLContext | None
    ) -> None:
        self._server = server
        self._listener = listener
        self._context = context
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        port: int = server.sockets[0].getsockname()[1]
        self.url = f"{_SCHEMES[listener.type]}://{host}:{port}"
        if listener.type.has_websocket:
            self.url += listener.path

    def reload(self) -> None:
        """New connections get the certificate that the files hold now; open ones stay as they are.

        Raises:
          ConfigError: the certificate or its key cannot be used. The old ones go on being used.
        """
        if self._context is not None:
            # Tried on another one first: half of a pair would be of no use to this one.
            tls_context(self._listener)
            _use_certificate(self._context, self._listener)

    def close(self) -> None:
        """Takes no more connections; those that are open stay."""
        self._server.close()


async def open_listener(
    listener: Listener,
    factory: Callable[[], ClientProtocol],
    loop: asyncio.AbstractEventLoop,
    *,
    maximum_packet_bytes: int,
) -> OpenListener:
    """Starts to listen.

    Raises:
      ConfigError: the certificate or its key cannot be used.
      ListenError: the address cannot be had.
    """

    def websocket() -> WebSocketProtocol:
        return WebSocketProtocol(factory(), listener, maximum_packet_bytes=maximum_packet_bytes)

    context = tls_context(listener) if listener.type.has_tls else None
    try:
        server = await loop.create_server(
            websocket if listener.type.has_websocket else factory,
            listener.host,
            listener.port,
            ssl=context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=10.0 if context else None,
            ssl_shutdown_timeout=2.0 if context else None,
        )
    except OSError as error:
        raise ListenError(
            f"cannot listen on {listener.host}:{listener.port}: {error.strerror or error}"
        ) from error
    return OpenListener(server, listener, context)


def tls_context(listener: Listener) -> ssl.SSLContext:
    """TLS 1.2 or newer with the listener's certificate. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _use_certificate(context, listener)
    return context


def _use_certificate(context: ssl.SSLContext, listener: Listener) -> None:
    assert listener.certificate_file is not None
    try:
        context.load_cert_chain(listener.certificate_file, listener.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"certificate {listener.certificate_file} with key {listener.key_file} cannot be"
            f" used: {error}"
        ) from error
