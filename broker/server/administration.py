"""The administration socket: operators ask a running broker, one JSON value a line.

A request is an object with ``request``, its name, and its arguments. It is answered by any number
of lines ``{"rows": […]}`` and one last line, ``{"done": {…}}`` or ``{"error": "…"}``. Requests of a
connection are answered one after the other.

=================  ===============================  ============================================
request            arguments                        answer
=================  ===============================  ============================================
``status``                                          ``done``: version, times, counts, counters
``clients``        ``match`` (a glob, default *)    ``rows``: one ``ClientSnapshot`` a session
``client``         ``client_id``                    ``rows``: its subscriptions; ``done``: itself
``kick``           ``client_id``, ``forget``        ``done``: whether it was connected
``retained``       ``filter`` (default #)           ``rows``: one ``RetainedSnapshot`` a message
``retained-show``  ``topic``                        ``done``: itself, with ``payload`` (base64)
``retained-delete``  ``topic``                      ``done``: empty
``backup``         ``target``, an absolute path     ``done``: empty, once the copy is complete
=================  ===============================  ============================================

Whoever may open the socket may do all of it: it is the file's owner, and root. Rows are made
``ROWS_AT_ONCE`` at a time, and clients are served between.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from broker.auth.principal import SERVER_TOPICS
from broker.core import inspecting
from broker.core.session import Session
from broker.errors import AdministrationError, ListenError, StoreError
from broker.server.conversations import Conversations
from broker.server.logs import about
from broker.server.shell import Shell
from mqtt.errors import TopicError
from mqtt.topics import TopicFilter

LOG = logging.getLogger("broker")

ROWS_AT_ONCE = 200
LONGEST_REQUEST_BYTES = 64 * 1024
CONNECTIONS = 16

T = TypeVar("T")
Answer = dict[str, Any]
Handler = Callable[[dict[str, Any]], AsyncIterator[Answer]]


class Administration:
    """Answers requests about a running broker. ``status``: what the server knows of itself."""

    def __init__(self, shell: Shell, status: Callable[[], Answer]) -> None:
        self._shell = shell
        self._core = shell.core
        self._status = status
        # Whoever asked has gone, which is nobody's fault.
        self._conversations = Conversations(
            self._converse, most=CONNECTIONS, nobodys_fault=(ConnectionError,)
        )
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._handlers: dict[str, Handler] = {
            "status": self._told_status,
            "clients": self._told_clients,
            "client": self._told_client,
            "kick": self._kicked,
            "retained": self._told_retained,
            "retained-show": self._shown,
            "retained-delete": self._deleted,
            "backup": self._backed_up,
        }

    async def open(self, path: Path) -> None:
        """Listens at ``path``, for this user alone.

        Raises:
          ListenError: a broker listens there already, or the socket can't be made.
        """
        bound = _bound(path)
        self._server = await asyncio.start_unix_server(
            self._conversations.accepted, sock=bound, limit=LONGEST_REQUEST_BYTES
        )
        self._path = path

    async def renew(self) -> None:
        """Listens anew where somebody deleted the socket.

        Raises:
          ListenError: as ``open``.
        """
        if self._path is None or self._path.is_socket():
            return
        gone = self._server
        await self.open(self._path)
        if gone is not None:
            gone.close()

    async def close(self) -> None:
        """Ends what is being asked."""
        if self._server is None:
            return
        await self._conversations.close(self._server)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil()
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                writer.write(b'{"error": "a request has at most 65536 bytes"}\n')
                await writer.drain()
                return
            async for answer in self._answers(line):
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()

    async def _answers(self, line: bytes) -> AsyncIterator[Answer]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["request"]]
        except (ValueError, TypeError, KeyError):
            known = ", ".join(self._handlers)
            yield {"error": f"a request is a JSON object with 'request', one of: {known}"}
            return
        try:
            async for answer in handler(request):
                yield answer
        except (AdministrationError, StoreError, TopicError) as error:
            yield {"error": str(error)}

    async def _told_status(self, request: Answer) -> AsyncIterator[Answer]:
        yield {"done": self._status()}

    async def _told_clients(self, request: Answer) -> AsyncIterator[Answer]:
        pattern = _text(request, "match", "*")
        sessions = self._core.sessions
        found = (each for each in list(sessions) if fnmatchcase(each.client_id, pattern))
        # What ended meanwhile is left out.
        here = (each for each in found if sessions.get(each.client_id) is each)
        async for some in _parted(here):
            yield {"rows": [asdict(inspecting.client(each, self._now())) for each in some]}
        yield {"done": {}}

    async def _told_client(self, request: Answer) -> AsyncIterator[Answer]:
        session = self._session(request)
        async for some in _parted(inspecting.subscriptions(session)):
            yield {"rows": [asdict(item) for item in some]}
        yield {"done": asdict(inspecting.client(session, self._now()))}

    async def _kicked(self, request: Answer) -> AsyncIterator[Answer]:
        session = self._session(request)
        forget = request.get("forget", False) is True
        was_connected = session.connection is not None
        if forget:
            # That its connection ends the core tells.
            extra = about("session_forgotten", client_id=session.client_id)
            LOG.warning("%s: its session is ended by an operator", session.client_id, extra=extra)
        self._core.kick(session, self._now(), forget=forget)
        self._shell.wake()
        yield {"done": {"was_connected": was_connected}}

    async def _told_retained(self, request: Answer) -> AsyncIterator[Answer]:
        topic_filter = TopicFilter.parse(_text(request, "filter", "#"))
        async for some in _parted(self._core.retained.walk(topic_filter)):
            now = self._now()
            live = (message for message in some if not message.expired(now))
            yield {"rows": [asdict(inspecting.retained(message, now)) for message in live]}
        yield {"done": {}}

    async def _shown(self, request: Answer) -> AsyncIterator[Answer]:
        topic = _text(request, "topic")
        message = self._core.retained.get(topic)
        if message is None or message.expired(self._now()):
            raise AdministrationError(f"no message is retained for {topic!r}")
        payload = base64.b64encode(message.payload).decode()
        yield {"done": {**asdict(inspecting.retained(message, self._now())), "payload": payload}}

    async def _deleted(self, request: Answer) -> AsyncIterator[Answer]:
        topic = _text(request, "topic")
        if topic.startswith(SERVER_TOPICS):
            raise AdministrationError(
                f"{topic!r} is the broker's own; system_topics_seconds: 0 turns it off"
            )
        if self._core.retained.get(topic) is None:
            raise AdministrationError(f"no message is retained for {topic!r}")
        extra = about("retained_deleted", topic=topic)
        LOG.warning("retained message of %r deleted by an operator", topic, extra=extra)
        self._core.retained.clear(topic)
        self._shell.wake()
        yield {"done": {}}

    async def _backed_up(self, request: Answer) -> AsyncIterator[Answer]:
        target = Path(_text(request, "target"))
        if not target.is_absolute():
            raise AdministrationError(f"target {str(target)!r} must be an absolute path")
        store = self._shell.store
        if store is None:
            raise AdministrationError("this broker has no store")
        await asyncio.get_running_loop().run_in_executor(None, store.backup, target)
        LOG.info("backup made: %s", target, extra=about("backup_made"))
        yield {"done": {}}

    def _session(self, request: Answer) -> Session:
        client_id = _text(request, "client_id")
        session = self._core.sessions.get(client_id)
        if session is None:
            raise AdministrationError(f"no client {client_id!r} has a session")
        return session

    def _now(self) -> float:
        return self._shell.loop.time()


def _text(request: Answer, name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str):
        raise AdministrationError(f"{name} is {value!r}; it must be text")
    return value


async def _parted(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """Gives rows of items, and the event loop a turn after each."""
    left = iter(items)
    while some := list(islice(left, ROWS_AT_ONCE)):
        yield some
        await asyncio.sleep(0)


def _bound(path: Path) -> socket.socket:
    """A socket at ``path``, for its owner alone from the first moment on."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                # Left behind by a broker that was killed.
                with suppress(OSError):
                    path.unlink()
            else:
                raise ListenError(f"administration socket {path}: a broker listens there already")
    elif path.exists():
        raise ListenError(
            f"administration socket {path}: there is a file of this name, which is no socket;"
            " name another"
        )
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    except OSError as error:
        bound.close()
        raise ListenError(
            f"administration socket {path} can't be made: {error.strerror or error}"
        ) from error
    finally:
        os.umask(mask)
    return bound
