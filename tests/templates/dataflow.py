"""Dataflow's launch method, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Dataflow(ThreadingHTTPServer):
    """Dataflow's launch method: keeps the requests, and answers as told: with a status and a JSON
    value or bytes; with nothing, closing the connection; or not before it ends.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answer: tuple[int, object] | None = (200, {"job": {"id": "2026-11-23_job"}})
        self.silent = False
        self.ending = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Dataflow

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path.partition("?")[0], json.loads(body)))
        if self.server.silent:
            self.server.ending.wait(60)
        if self.server.answer is None or self.server.silent:
            self.close_connection = True
            return
        status, answer = self.server.answer
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running_dataflow() -> Iterator[Dataflow]:
    """Serves while the context is open."""
    with Dataflow() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()
