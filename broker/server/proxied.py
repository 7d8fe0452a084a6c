"""A connection from a proxy: its header is read, and then the client speaks.

Only who is listed may send a header, and who is listed must: else anybody could say that they come
from anywhere. The header comes before TLS, where there is any.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from broker.config import Listener, Network
from broker.server.gathering import Doorkeeper, Unwelcome
from broker.server.proxy_protocol import ProxyProtocolError, read_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a client comes from, by its socket or as a proxy says.

    ``common_name``: of the certificate that a trusted proxy has verified.
    """

    host: str
    port: int
    common_name: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ProxiedProtocol(asyncio.Protocol):
    """Reads the header and then hands the transport to what ``make`` makes of the origin."""

    def __init__(
        self,
        make: Callable[[Origin], asyncio.Protocol],
        listener: Listener,
        *,
        doorkeeper: Doorkeeper,
        timeout_seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._make = make
        self._listener = listener
        self._doorkeeper = doorkeeper
        self._timeout_seconds = timeout_seconds
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._proxy: Origin | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who is not listed is sent away before it says anything."""
        self._transport = cast("asyncio.Transport", transport)
        proxy = self._proxy = origin_of(transport)
        if not is_among(proxy.host, self._listener.proxies):
            reason = "it is not among the listener's proxies"
            self._send_away("connection_refused", f"refused, {reason}", reason)
            return
        self._timer = self._loop.call_later(self._timeout_seconds, self._refuse, "no header came")

    def data_received(self, data: bytes) -> None:
        """The header, and perhaps what stands behind it."""
        transport, proxy = self._transport, self._proxy
        assert transport is not None
        assert proxy is not None
        if transport.is_closing():
            return
        self._data += data
        try:
            header = read_header(self._data)
        except ProxyProtocolError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._stop()
        origin = proxy
        if header.source is not None:
            host, port = header.source
            origin = Origin(host=host, port=port, common_name=header.common_name)
        above = self._make(origin)
        transport.set_protocol(above)
        above.connection_made(transport)
        rest = self._data[header.size :]
        if rest:
            above.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy went before its header was read."""
        self._stop()

    def _refuse(self, reason: str) -> None:
        self._stop()
        self._send_away("proxy_closed", f"closed, {reason}", reason)

    def _send_away(self, event: str, text: str, reason: str) -> None:
        assert self._transport is not None
        one = Unwelcome(
            event=event,
            peer=str(self._proxy),
            listener=self._listener.name,
            text=text,
            reason=reason,
        )
        self._doorkeeper.note(f"proxied: {event}", one)
        self._transport.abort()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def origin_of(transport: asyncio.BaseTransport) -> Origin:
    """The other end of the transport's socket."""
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple) and len(peer) >= 2:
        return Origin(host=str(peer[0]), port=int(peer[1]))
    return Origin(host="unknown", port=0)


def is_among(host: str, networks: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
