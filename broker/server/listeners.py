"""Listeners: TCP and TLS, with or without WebSocket, with or without a proxy before them.

::

    socket ─> ProxiedProtocol ─> TlsProtocol ─> WebSocketProtocol ─> ClientProtocol ─> core
              each but the last only where the listener has it
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.config import Listener, ListenerType
from broker.server.addresses import refused
from broker.server.client import ClientProtocol
from broker.server.gathering import Doorkeeper
from broker.server.proxied import Origin, ProxiedProtocol
from broker.server.tls import TlsProtocol, tls_context
from broker.server.websocket import WebSocketProtocol

_SCHEMES = {
    ListenerType.TCP: "mqtt",
    ListenerType.TLS: "mqtts",
    ListenerType.WS: "ws",
    ListenerType.WSS: "wss",
}

_BACKLOG = 1_024
"""Devices come back all at once after an outage."""

MakeClient = Callable[[Origin | None], ClientProtocol]


class OpenListener:
    """An address that is being listened on. ``url`` bears the port that the system chose.

    Raises:
      ConfigError: the certificate or its key cannot be used.
    """

    def __init__(
        self,
        listener: Listener,
        make_client: MakeClient,
        loop: asyncio.AbstractEventLoop,
        *,
        doorkeeper: Doorkeeper,
        maximum_packet_bytes: int,
        connect_timeout_seconds: float,
    ) -> None:
        self._listener = listener
        self._make_client = make_client
        self._loop = loop
        self._doorkeeper = doorkeeper
        self._maximum_packet_bytes = maximum_packet_bytes
        self._connect_timeout_seconds = connect_timeout_seconds
        self._context = tls_context(listener) if listener.type.has_tls else None
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        """Begins to listen. Raises ListenError: the address cannot be had."""
        listener = self._listener
        try:
            self._server = await self._loop.create_server(
                self._protocol, listener.host, listener.port, backlog=_BACKLOG
            )
        except OSError as error:
            raise refused(listener.host, listener.port, error) from error
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{_SCHEMES[listener.type]}://{host}:{port}"
        if listener.type.has_websocket:
            self.url += listener.path

    def reload(self) -> None:
        """New connections get the certificate that the files hold now; open ones stay as they are.

        Raises:
          ConfigError: the certificate or its key cannot be used. The old ones go on being used.
        """
        if self._listener.type.has_tls:
            self._context = tls_context(self._listener)

    def close(self) -> None:
        """Takes no more connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    def _protocol(self) -> asyncio.Protocol:
        if not self._listener.proxies:
            return self._above(None)
        return ProxiedProtocol(
            self._above,
            self._listener,
            doorkeeper=self._doorkeeper,
            timeout_seconds=self._connect_timeout_seconds,
            loop=self._loop,
        )

    def _above(self, origin: Origin | None) -> asyncio.Protocol:
        """What speaks behind the header of a proxy; ``origin``: what that says."""
        client = self._make_client(origin)
        protocol: asyncio.Protocol = client
        if self._listener.type.has_websocket:
            protocol = WebSocketProtocol(
                client, self._listener, maximum_packet_bytes=self._maximum_packet_bytes
            )
        if self._context is not None:
            protocol = TlsProtocol(protocol, self._context)
        return protocol


async def open_listener(
    listener: Listener,
    make_client: MakeClient,
    loop: asyncio.AbstractEventLoop,
    *,
    doorkeeper: Doorkeeper,
    maximum_packet_bytes: int,
    connect_timeout_seconds: float,
) -> OpenListener:
    """Starts to listen.

    Raises:
      ConfigError: the certificate or its key cannot be used.
      ListenError: the address cannot be had.
    """
    opened = OpenListener(
        listener,
        make_client,
        loop,
        doorkeeper=doorkeeper,
        maximum_packet_bytes=maximum_packet_bytes,
        connect_timeout_seconds=connect_timeout_seconds,
    )
    await opened.open()
    return opened
