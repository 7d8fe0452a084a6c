"""Secrets by reference: what a job graph, a log line or a process list may show.

``projects/P/secrets/S[/versions/V]`` is read from Secret Manager, ``file:PATH`` from a file,
``env:NAME`` from the environment of the process that needs it, each time it is needed, so that a
rotated secret is picked up at the next connect.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import TransformError

_MANAGED = re.compile(r"projects/[^/]+/secrets/[^/]+(/versions/[^/]+)?")
_FORMS = "projects/P/secrets/S/versions/V, file:PATH or env:NAME"


class SecretError(TransformError):
    """A secret could not be read; the message names the reference, never the value."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret."""

    reference: str

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Reads a reference.

        Raises:
          ValueError: it is none of the forms; what was given is not repeated, as it may be the
            secret itself.
        """
        if _MANAGED.fullmatch(text):
            return cls(text if "/versions/" in text else f"{text}/versions/latest")
        kind, _, rest = text.partition(":")
        if kind in ("file", "env") and rest:
            return cls(text)
        raise ValueError(
            f"must be a reference ({_FORMS}), not the secret itself, which the job graph would show"
        )

    def read(self) -> bytes:
        """Returns the secret; one line end behind a file's last line is not part of it.

        Raises:
          SecretError: it is not there or may not be read.
        """
        kind, _, rest = self.reference.partition(":")
        if kind == "file":
            try:
                return Path(rest).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
            except OSError as error:
                raise SecretError(f"secret {self.reference}: {error.strerror}") from error
        if kind == "env":
            value = os.environ.get(rest)
            if value is None:
                raise SecretError(
                    f"secret {self.reference}: the environment has no variable {rest}"
                )
            return value.encode()
        return self._managed()

    def as_file(self) -> str:
        """Returns the path of a file with the secret: its own, or a private copy.

        Copies are made once a process, in a folder only this user can read, and are removed when
        the process ends. Raises SecretError.
        """
        if self.reference.startswith("file:"):
            return self.reference.removeprefix("file:")
        return _private_copy(self.reference)

    def _managed(self) -> bytes:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import secretmanager

        try:
            with secretmanager.SecretManagerServiceClient() as client:
                answer = client.access_secret_version(name=self.reference)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise SecretError(
                f"secret {self.reference}: {error}; the job's service account needs"
                " roles/secretmanager.secretAccessor on it"
            ) from error
        return bytes(answer.payload.data)


@functools.cache
def _private_copy(reference: str) -> str:
    secret = SecretRef(reference).read()
    folder = tempfile.mkdtemp(prefix="mqttbeam-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "secret.pem")
    path.touch(mode=0o600)
    path.write_bytes(secret)
    return str(path)
