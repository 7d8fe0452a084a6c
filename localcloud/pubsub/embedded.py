"""A local Pub/Sub inside a program that is not asyncio itself: a thread with its own loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from localcloud.pubsub.server import PubSubServer


class LocalPubSub:
    """Serve while the context is open; everything is forgotten when it closes.

        with LocalPubSub() as pubsub:
            os.environ["PUBSUB_EMULATOR_HOST"] = pubsub.endpoint

    Tests of what happens when Pub/Sub cannot be reached use `refusing_connections`.

    Args:
        host: address to bind.
        port: 0 lets the system choose.

    Raises:
        OSError: if the address cannot be bound.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._endpoint = ""
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: PubSubServer | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="local-pubsub", daemon=True)

    @property
    def endpoint(self) -> str:
        """`host:port`, as PUBSUB_EMULATOR_HOST wants it."""
        return self._endpoint

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @contextmanager
    def refusing_connections(self) -> Iterator[None]:
        """While open the port is closed; then it is the same port with the same messages again."""
        self._call(PubSubServer.close_port)
        try:
            yield
        finally:
            self._call(PubSubServer.open_port)

    def _call(self, method: Callable[[PubSubServer], Coroutine[Any, Any, None]]) -> None:
        if self._loop is None or self._server is None:
            raise RuntimeError("the local Pub/Sub is not running: open its context first")
        asyncio.run_coroutine_threadsafe(method(self._server), self._loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by the thread that opened this
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = PubSubServer(host=self._host, port=self._port)
        await server.start()
        self._server = server
        self._endpoint = server.endpoint
        self._started.set()
        await serve_until(server, self._stop)


async def serve_until(server: PubSubServer, stop: asyncio.Event) -> None:
    """Keep a started server up until `stop` is set, then stop it; raises its faults."""
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(server.failed())
    try:
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        stopped.cancel()
        failed.cancel()
        await server.stop()
