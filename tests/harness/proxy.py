"""A TCP proxy on loopback that can be cut in the two ways in which networks are cut.

``closed()``   the port refuses and what was connected is reset.
``silent()``   nothing that is sent arrives, in either direction, and nobody is told: connections
               stay, new ones are accepted (as a full listen queue or a half-open path does) and
               hear nothing. What was sent arrives when it is over, as TCP's retransmission would
               have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

_CHUNK_BYTES = 262_144
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Carries connections to ``target`` (``host:port``); a context manager."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self.port = 0
        self.accepted = 0
        """Connections accepted so far."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._flowing.set()
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Refuses connections for the length of a ``with`` block."""
        self._call(self._close())
        try:
            yield
        finally:
            self._call(self._open())

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Swallows everything for the length of a ``with`` block."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flowing.set)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            # Closing with a linger time of 0 sends a reset, as a host without listener does.
            sock: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._writers.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            upstream, upstream_writer = await asyncio.open_connection(*self._target)
            self._writers.add(upstream_writer)
            try:
                await asyncio.gather(
                    self._carry(reader, upstream_writer), self._carry(upstream, writer)
                )
            finally:
                self._writers.discard(upstream_writer)
                upstream_writer.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        # One side is done: so is the other, or it would never be told.
        writer.close()
