"""HTTP for probes and Prometheus: ``/healthz``, ``/readyz`` and ``/metrics``.

``/healthz``: 200 while the event loop turns and the store can be written. ``/readyz``: 200 while
clients are taken; 503 before the listeners are open and from the moment on that the broker is to
stop, until all clients were said goodbye to. HTTP is spoken by h11, one request a connection; how
large a request may be, how long it may take and how many there may be at once is bounded. Whoever
connects and asks nothing keeps no probe out: the oldest connection gives way to a new one.
"""

from __future__ import annotations

import asyncio
import enum
import http
import logging
from collections.abc import Callable

import h11

from broker.errors import ListenError
from broker.server.addresses import refused
from broker.server.conversations import Conversations
from broker.server.gathering import Gathered
from broker.server.logs import about
from broker.server.proxied import origin_of

LOG = logging.getLogger("broker")

LARGEST_REQUEST_BYTES = 8 * 1024
REQUEST_SECONDS = 5.0
CONNECTIONS = 32

CROWDED_SECONDS = 60.0
"""At most so often the log says that connections gave way to others."""

_TEXT = "text/plain; charset=utf-8"


class Phase(enum.Enum):
    """Where a server stands between its start and its end."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed: the store can't be written"


class Health:
    """Answers by what ``phase`` is. ``metrics`` gives what ``/metrics`` answers, once set."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.metrics: Callable[[], tuple[str, bytes]] | None = None
        self._server: asyncio.Server | None = None
        self._crowded = Gathered(_say_crowded, seconds=CROWDED_SECONDS)
        # Whoever asked has gone, is too slow, or speaks something else.
        self._conversations = Conversations(
            self._answer,
            most=CONNECTIONS,
            nobodys_fault=(ConnectionError, TimeoutError, h11.RemoteProtocolError),
            # A request that has come whole is answered at once: who is old has sent none. Its
            # answer, if it is on its way after all, is still written.
            gave_way=lambda writer: self._crowded.note(str(origin_of(writer.transport))),
        )

    async def open(self, host: str, port: int) -> str:
        """Listens, and returns the URL. Raises ListenError."""
        try:
            self._server = await asyncio.start_server(
                self._conversations.accepted, host, port, limit=LARGEST_REQUEST_BYTES
            )
        except OSError as error:
            raise ListenError(f"health: {refused(host, port, error)}") from error
        chosen: int = self._server.sockets[0].getsockname()[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{chosen}"

    async def close(self) -> None:
        """Answers no more."""
        if self._server is None:
            return
        await self._conversations.close(self._server)
        self._crowded.stop()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            await self._answer_one(reader, writer)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_head = False
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_REQUEST_BYTES)
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await reader.read(LARGEST_REQUEST_BYTES))
        except h11.RemoteProtocolError as error:
            answer = (error.error_status_hint, _TEXT, f"{error}\n".encode())
        else:
            if not isinstance(event, h11.Request):
                return
            answer = self._answer_to(event)
            is_head = event.method == b"HEAD"
        status, kind, body = answer
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        phrase = http.HTTPStatus(status).phrase
        events: list[h11.Event] = [
            h11.Response(status_code=status, headers=headers, reason=phrase),
            h11.EndOfMessage(),
        ]
        if not is_head:
            events.insert(1, h11.Data(data=body))
        data = b"".join(connection.send(each) or b"" for each in events)
        writer.write(data)
        await writer.drain()

    def _answer_to(self, request: h11.Request) -> tuple[int, str, bytes]:
        if request.method not in (b"GET", b"HEAD"):
            return http.HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"GET or HEAD\n"
        path = request.target.partition(b"?")[0]
        words = f"{self.phase.value}\n".encode()
        if path == b"/healthz":
            ok = self.phase is not Phase.FAILED
        elif path == b"/readyz":
            ok = self.phase is Phase.READY
        elif path == b"/metrics":
            if self.metrics is not None:
                return http.HTTPStatus.OK, *self.metrics()
            ok = False
        else:
            return http.HTTPStatus.NOT_FOUND, _TEXT, b"/healthz, /readyz or /metrics\n"
        return (http.HTTPStatus.OK if ok else http.HTTPStatus.SERVICE_UNAVAILABLE), _TEXT, words


def _say_crowded(count: int, last: str) -> None:
    LOG.warning(
        "health: %d connection%s that had asked nothing gave way to others, the last from %s:"
        " there were %d at once",
        count,
        "s" if count > 1 else "",
        last,
        CONNECTIONS,
        extra=about("health_crowded", peer=last),
    )
