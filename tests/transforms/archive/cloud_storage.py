"""As much of Cloud Storage's JSON API as an upload needs: resumable, in chunks, with checksums."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import google_crc32c


class CloudStorage(ThreadingHTTPServer):
    """``objects`` are those whose upload is complete; the next ``failures`` chunks are refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.failures = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CloudStorage

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:  # the library's name
        """Begins an upload."""
        name = json.loads(self._body())["name"]
        self.server.uploads[name] = b""
        self._answer(200, {}, Location=f"{self.server.url}/put/{name}")

    def do_PUT(self) -> None:  # the library's name
        """Takes a chunk; the one that says the whole size is the last."""
        body, name = self._body(), self.path.removeprefix("/put/")
        if self.server.failures:
            self.server.failures -= 1
            self._answer(403, {"error": {"message": "no right"}})
            return
        self.server.uploads[name] += body
        whole = self.server.uploads[name]
        if re.search(r"/\d+$", self.headers["content-range"]):
            self.server.objects[name] = self.server.uploads.pop(name)
            crc32c: int = google_crc32c.value(whole)
            digest = base64.b64encode(crc32c.to_bytes(4, "big")).decode()
            self._answer(200, {"name": name, "size": str(len(whole)), "crc32c": digest})
        else:
            self._answer(308, {}, Range=f"bytes=0-{len(whole) - 1}")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"] or 0))

    def _answer(self, status: int, answer: dict[str, Any], **headers: str) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running_cloud_storage() -> Iterator[CloudStorage]:
    """Serves while the context is open."""
    with CloudStorage() as server:
        thread = threading.Thread(target=server.serve_forever, name="cloud-storage")
        thread.start()
        yield server
        server.shutdown()
        thread.join()
