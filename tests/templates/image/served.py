"""A container registry on loopback, as the distribution specification has it.

It serves manifests by tag and blobs by digest, to who has a token; the token comes from another
path, anonymously, for the scope that the challenge names.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_TOKEN = "anonymous-token"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(kw_only=True)
class Registry:
    """What is served, and how.

    By path, ``statuses`` gives another status than 200 and ``redirects`` another place;
    ``requests`` and ``tokens`` are what came.
    """

    address: str = ""
    challenge: bool = True
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    false_digest: str | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def put_index(self, name: str, *platforms: str) -> str:
        """Serves an index under ``PATH:TAG``; returns its digest."""
        entries = []
        for platform in platforms:
            system, _, architecture = platform.partition("/")
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "digest": digest_of(platform.encode()),
                    "size": len(platform),
                    "platform": {"os": system, "architecture": architecture},
                }
            )
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return self._put(name, INDEX, content)

    def put_manifest(self, name: str, platform: str) -> str:
        """Serves an image of one platform under ``PATH:TAG``; returns its digest."""
        system, _, architecture = platform.partition("/")
        config = json.dumps({"os": system, "architecture": architecture}).encode()
        self.blobs[digest_of(config)] = config
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"digest": digest_of(config), "size": len(config)},
            "layers": [],
        }
        return self._put(name, MANIFEST, content)

    def _put(self, name: str, kind: str, content: object) -> str:
        body = json.dumps(content, indent=3).encode()
        self.manifests[name] = (kind, body)
        return digest_of(body)


@contextmanager
def serving() -> Iterator[Registry]:
    """Serves a registry until the end of the context."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.requests.append(self.path)
            registry.tokens.append(self.headers["Authorization"])
            url = urlsplit(self.path)
            if url.path == "/token":
                self._token(parse_qs(url.query))
            elif self._allowed():
                self._content(url.path)

        def _token(self, query: dict[str, list[str]]) -> None:
            (scope,) = query["scope"]
            assert query["service"] == ["registry.test"]
            assert scope.startswith("repository:")
            assert scope.endswith(":pull")
            self._answer(200, json.dumps({"token": f"{_TOKEN} {scope}"}).encode())

        def _allowed(self) -> bool:
            path = self.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
            scope = f"repository:{path}:pull"
            if not registry.challenge:
                return True
            if self.headers["Authorization"] == f"Bearer {_TOKEN} {scope}":
                return True
            realm = f"http://{registry.address}/token"
            challenge = f'Bearer realm="{realm}",service="registry.test",scope="{scope}"'
            self._answer(401, b"{}", {"WWW-Authenticate": challenge})
            return False

        def _content(self, path: str) -> None:
            status = registry.statuses.get(path, 200)
            name, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
            if path in registry.redirects:
                self._answer(307, b"", {"Location": registry.redirects[path]})
            elif status != 200:
                self._answer(status, b"{}")
            elif kind == "blobs" and reference in registry.blobs:
                self._answer(200, registry.blobs[reference])
            elif kind == "manifests" and f"{name}:{reference}" in registry.manifests:
                content_type, body = registry.manifests[f"{name}:{reference}"]
                assert content_type in self.headers["Accept"]
                digest = registry.false_digest or digest_of(body)
                headers = {"Content-Type": content_type, "Docker-Content-Digest": digest}
                self._answer(200, body, headers)
            else:
                self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing; ``requests`` has them."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.address = "{}:{}".format(*server.server_address)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
