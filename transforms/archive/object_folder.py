"""A folder of an object store (``gs://…``), by Beam's file systems.

An object is seen when its upload is complete and not before; an upload that is broken off leaves
nothing that is listed, so there is nothing to clean: Cloud Storage forgets it after a week.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.fileio import BlobWriter
from requests.exceptions import RequestException

from transforms.errors import DestinationMissing, DestinationRefused


class ObjectFolder:
    """See the module, and ``transforms.archive.folder.Folder``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")

    def path(self, name: str) -> str:
        """Returns the object's URL."""
        return f"{self._folder}/{name}"

    def write(self, name: str, data: bytes) -> None:
        """Makes an object; raises what the file system raises."""
        # Never by name: a file that ends in .gz would be compressed once more.
        file = FileSystems.create(
            self.path(name),
            mime_type="application/octet-stream",
            compression_type=CompressionTypes.UNCOMPRESSED,
        )
        try:
            file.write(data)
            file.close()
        except BaseException:
            _discard(file)
            raise

    def clean(self) -> int:
        """Nothing is left over."""
        return 0

    def check(self) -> None:
        """Writes an object and removes it.

        Raises:
          DestinationMissing: there is no such bucket.
          DestinationRefused: this account has no right to it.
          Exception: anything else that the file system raises.
        """
        name = f".check-{secrets.token_hex(8)}"
        try:
            self.write(name, b"")
            FileSystems.delete([self.path(name)])
        except Exception as error:  # each file system has its own
            bucket = "/".join(self._folder.split("/")[:3])
            statuses = set(_statuses(error))
            if 404 in statuses:
                raise DestinationMissing(
                    f"the archive's bucket {bucket} does not exist; create it with"
                    f" `gcloud storage buckets create {bucket} --location=LOCATION`"
                ) from error
            if statuses & {401, 403}:
                raise DestinationRefused(
                    f"the archive's bucket {bucket}: {error}; give the pipeline's service account"
                    " the right to create, replace and delete objects in it: `gcloud storage"
                    f" buckets add-iam-policy-binding {bucket} --member=serviceAccount:ACCOUNT"
                    " --role=roles/storage.objectUser`"
                ) from error
            raise


def _discard(file: object) -> None:
    """Breaks an upload off. Else Google's writer would go on with it when it is collected, for two
    minutes where the service is away, and in whatever thread.
    """
    if isinstance(file, BlobWriter) and not file.closed:
        try:
            file.terminate()
        except (GoogleAPICallError, GoogleAuthError, RequestException):
            file._buffer.close()  # what it would send; terminate() closes it last


def _statuses(error: object) -> Iterator[int]:
    """Gives the HTTP statuses that an error of Beam's file systems or Google's client tells of."""
    if isinstance(error, BeamIOError):
        for detail in (error.exception_details or {}).values():
            yield from [detail] if isinstance(detail, int) else _statuses(detail)
    elif isinstance(error, GoogleAPICallError):
        yield int(error.code or 0)
    elif isinstance(error, InvalidResponse):
        yield int(error.response.status_code)
