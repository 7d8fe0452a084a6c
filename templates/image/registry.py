"""Which digest a tag stands for, asked of its registry: no engine and no account is needed.

The digest is that of what the registry sends, computed here. Where that is an index (one manifest
a platform), it is the index's, which people see on the registry's pages and engines take as well.
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from templates.errors import ImageError
from templates.image.locked import PLATFORM, BaseImage

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# What registries must take is 4 MiB.
_MOST_BYTES = 4 * 1024 * 1024
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_REFUSALS = {
    401: "it asks for an account",
    403: "it asks for an account",
    404: "it has no such image or tag: look at its tags, and correct templates/images.lock",
    429: "it has had too many requests from here: try again later",
}


def digest_of(image: BaseImage, *, timeout_seconds: float = 30.0) -> str:
    """Returns the digest that the image's tag stands for now, ``sha256:…``.

    Raises:
      ImageError: the registry can't be reached, refuses, sends something else than it says, or has
        the image for other platforms only.
    """
    return _Registry(image, timeout_seconds).digest()


class _Registry:
    """The API of one registry, for one image; its token is kept."""

    def __init__(self, image: BaseImage, timeout_seconds: float) -> None:
        host, _, self._path = image.image.partition("/")
        # Docker Hub's images bear a name that serves no API.
        host = "index.docker.io" if host == "docker.io" else host
        self._base = f"{'http' if _is_loopback(host) else 'https'}://{host}/v2/{self._path}"
        self._image = image
        self._timeout_seconds = timeout_seconds
        self._authorization: str | None = None

    def digest(self) -> str:
        body, headers = self._get(
            f"{self._base}/manifests/{self._image.tag}", accept=(*_INDEXES, *_MANIFESTS)
        )
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        said = headers.get("Docker-Content-Digest", digest)
        if said.startswith("sha256:") and said != digest:
            raise self._error(f"it calls {said} what is {digest}")
        manifest = self._parsed(body)
        kind = manifest.get("mediaType") or headers.get("Content-Type", "")
        if kind in _INDEXES:
            platforms = {_platform(each.get("platform", {})) for each in manifest["manifests"]}
        elif kind in _MANIFESTS:
            platforms = {self._platform_of(manifest["config"]["digest"])}
        else:
            raise self._error(f"it answers with {kind or 'something without a type'}, no manifest")
        if PLATFORM not in platforms:
            known = ", ".join(sorted(platforms))
            raise self._error(f"the image is for {known}, not for {PLATFORM}")
        return digest

    def _platform_of(self, config: str) -> str:
        body, _ = self._get(f"{self._base}/blobs/{config}", accept=("*/*",))
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != config:
            raise self._error(f"what it sends as {config} is something else")
        return _platform(self._parsed(body))

    def _get(self, url: str, *, accept: tuple[str, ...]) -> tuple[bytes, Any]:
        try:
            return self._fetch(url, accept)
        except urllib.error.HTTPError as error:
            with error:
                challenge = error.headers.get("WWW-Authenticate", "")
                if error.code != 401 or self._authorization is not None:
                    raise self._refusal(error.code) from error
        self._authorization = f"Bearer {self._token(challenge)}"
        try:
            return self._fetch(url, accept)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code) from error

    def _token(self, challenge: str) -> str:
        """Gets an anonymous token from where the registry says.

        https://distribution.github.io/distribution/spec/auth/token/
        """
        kind, _, rest = challenge.partition(" ")
        values = dict(_CHALLENGE.findall(rest))
        realm = values.pop("realm", "")
        if kind.lower() != "bearer" or not realm.startswith(("https://", "http://")):
            raise self._error("it asks for an account")
        values.setdefault("scope", f"repository:{self._path}:pull")
        query = urllib.parse.urlencode(
            {name: values[name] for name in ("service", "scope") if name in values}
        )
        try:
            body, _ = self._fetch(f"{realm}?{query}", ("application/json",))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code) from error
        answer = self._parsed(body)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str):
            raise self._error("it gives no token to who has no account")
        return token

    def _fetch(self, url: str, accept: tuple[str, ...]) -> tuple[bytes, Any]:
        request = urllib.request.Request(url, headers={"Accept": ", ".join(accept)})  # noqa: S310  # https, or loopback
        if self._authorization is not None:
            # Not for whom it redirects to.
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310  # as above
                body = answer.read(_MOST_BYTES + 1)
                headers = answer.headers
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ImageError(
                f"{self._image.image}: its registry can't be reached from here ({reason}). Run"
                " `make image-lock` where it can, and commit templates/images.lock"
            ) from error
        if len(body) > _MOST_BYTES:
            raise self._error(f"it answers with more than {_MOST_BYTES} bytes")
        return body, headers

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            content = json.loads(body)
        except ValueError as error:
            raise self._error("it answers with no JSON") from error
        if not isinstance(content, dict):
            raise self._error("it answers with JSON that is no object")
        return content

    def _refusal(self, status: int) -> ImageError:
        return self._error(f"{_REFUSALS.get(status, 'it refuses')} (HTTP status {status})")

    def _error(self, words: str) -> ImageError:
        return ImageError(f"{self._image.image}:{self._image.tag}: of its registry: {words}")


def _platform(record: dict[str, Any]) -> str:
    return f"{record.get('os', '?')}/{record.get('architecture', '?')}"


def _is_loopback(host: str) -> bool:
    """Whether a registry is this machine's own, which engines too speak to without TLS."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
