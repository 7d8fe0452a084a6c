"""As much of Google's REST interfaces as a preflight asks: over TLS, to known identities only.

Storage, BigQuery, Secret Manager, Service Usage, Resource Manager, IAM and its credentials, on one
port: their paths differ. Who asks is known by the token, and tokens are handed out as Google's are:
to a service account's key, and to whoever may act for another account.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.harness.certificates import Authority, server_context

CALLER = "operator@my-project.iam.gserviceaccount.com"
_SERVICES = (
    "artifactregistry", "bigquery", "cloudresourcemanager", "compute", "iam", "iamcredentials",
    "secretmanager", "serviceusage", "storage",
)  # fmt: skip

Answer = tuple[int, dict[str, Any]]


class GoogleApis(ThreadingHTTPServer):
    """What is there, and who may do what with it.

    Attributes:
      may_impersonate: the accounts that the caller may act for.
      rights: by identity and resource's path, its permissions.
      accounts: service accounts, and whether each is disabled.
      services: names of the enabled ones.
      secrets: by the version's name, its state and value.
      objects: by the bucket's name, the names of what is in it.
      contents: by bucket and name, the JSON in an object; {} where it isn't said.
      images: the paths of the tags and versions that are there.
      subnetworks: by path, whether each has Private Google Access.
      datasets: the paths of those that are there.
      asked: identity and path of every call, in their order.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        authority = Authority(folder, "google", identified=True)
        self.ca = authority.file
        context = server_context(authority.sign("127.0.0.1"))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.may_impersonate: set[str] = set()
        self.rights: dict[tuple[str, str], set[str]] = {}
        self.accounts: dict[str, bool] = {}
        self.services: set[str] = set()
        self.secrets: dict[str, tuple[str, bytes]] = {}
        self.objects: dict[str, set[str]] = {}
        self.contents: dict[tuple[str, str], dict[str, Any]] = {}
        self.images: set[str] = set()
        self.subnetworks: dict[str, bool] = {}
        self.datasets: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._folder = folder

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"

    def environment(self) -> dict[str, str]:
        """The variables by which a program finds this in Google's place, as the caller."""
        overrides = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}": f"{self.url}/"
            for service in _SERVICES
        }
        return {
            **overrides,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key_file()),
            "REQUESTS_CA_BUNDLE": self.ca,
        }

    def _key_file(self) -> Path:
        file = self._folder / "key.json"
        if not file.exists():
            pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            key = {
                "type": "service_account",
                "client_email": CALLER,
                "private_key": pem.decode(),
                "token_uri": f"{self.url}/token",
            }
            file.write_text(json.dumps(key))
        return file


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GoogleApis

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:  # the library's name
        self._handle({})

    def do_POST(self) -> None:  # the library's name
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        self._handle(json.loads(body) if body.startswith(b"{") else {})

    def _handle(self, body: dict[str, Any]) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).strip("/")
        status, answer = self._answer(path, parse_qs(parts.query), body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        if path == "token":
            token = {"access_token": CALLER, "expires_in": 3600, "token_type": "Bearer"}
            return 200, token
        who = (self.headers["authorization"] or "").removeprefix("Bearer ")
        if "@" not in who:
            return _error(401, "no credentials")
        self.server.asked.append((who, path))
        for pattern, answer in _PATHS:
            if found := re.fullmatch(pattern, path):
                return answer(self.server, who, found, query, body)
        return _error(404, f"no such path: {path}")


def _error(status: int, message: str) -> Answer:
    return status, {"error": {"code": status, "message": message}}


def _there(condition: bool, answer: dict[str, Any]) -> Answer:
    return (200, answer) if condition else _error(404, "not found")


def _impersonate(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    if found[1] not in apis.may_impersonate:
        return _error(403, "Permission 'iam.serviceAccounts.getAccessToken' denied")
    return 200, {"accessToken": found[1], "expireTime": "2099-01-01T00:00:00Z"}


def _rights(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    held = apis.rights.get((who, found[1]), set())
    return 200, {"permissions": [each for each in body["permissions"] if each in held]}


def _bucket_rights(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    held = apis.rights.get((who, found[1]), set())
    given = [each for each in query["permissions"] if each in held]
    return _there(found[1] in apis.objects, {"permissions": given} if given else {})


def _version(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    state, _ = apis.secrets.get(found[1], ("", b""))
    return _there(bool(state), {"name": found[1], "state": state})


def _value(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    secret = found[1].rpartition("/versions/")[0]
    if "secretmanager.versions.access" not in apis.rights.get((who, f"v1/{secret}"), set()):
        return _error(403, "Permission 'secretmanager.versions.access' denied")
    state, value = apis.secrets.get(found[1], ("", b""))
    return _there(bool(state), {"payload": {"data": base64.b64encode(value).decode()}})


def _enabled(apis: GoogleApis, who: str, found: Any, query: Any, body: Any) -> Answer:
    services = [
        {"config": {"name": name}, "state": "ENABLED" if name in apis.services else "DISABLED"}
        for name in (each.rpartition("/")[2] for each in query["names"])
    ]
    return 200, {"services": services}


_PATHS: list[tuple[str, Callable[[GoogleApis, str, Any, Any, Any], Answer]]] = [
    (r"v1/projects/-/serviceAccounts/([^/]+):generateAccessToken", _impersonate),
    (r"(.+):testIamPermissions", _rights),
    (r"storage/v1/b/([^/]+)/iam/testPermissions", _bucket_rights),
    (r"storage/v1/b/([^/]+)", lambda apis, w, found, q, b: _there(found[1] in apis.objects, {})),
    (
        r"storage/v1/b/([^/]+)/o/(.+)",
        lambda apis, w, found, query, b: _there(
            found[2] in apis.objects.get(found[1], ()),
            apis.contents.get((found[1], found[2]), {}) if "alt" in query else {},
        ),
    ),
    (r"v1/(projects/[^/]+/secrets/[^/]+/versions/[^/]+):access", _value),
    (r"v1/(projects/[^/]+/secrets/[^/]+/versions/[^/]+)", _version),
    (r"v1/projects/([^/]+)/services:batchGet", _enabled),
    (
        r"v1/projects/[^/]+/serviceAccounts/([^/]+)",
        lambda apis, w, found, q, b: _there(
            found[1] in apis.accounts, {"disabled": apis.accounts.get(found[1], False)}
        ),
    ),
    (r"v1/(.+/packages/.+)", lambda apis, w, found, q, b: _there(found[1] in apis.images, {})),
    (
        r"compute/v1/(.+)",
        lambda apis, w, found, q, b: _there(
            found[1] in apis.subnetworks,
            {"privateIpGoogleAccess": apis.subnetworks.get(found[1], False)},
        ),
    ),
    (r"(bigquery/v2/.+)", lambda apis, w, found, q, b: _there(found[1] in apis.datasets, {})),
]


@contextmanager
def running_google_apis(folder: Path) -> Iterator[GoogleApis]:
    """Serves while the context is open."""
    with GoogleApis(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="google-apis")
        thread.start()
        yield server
        server.shutdown()
        thread.join()
