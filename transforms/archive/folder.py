"""Where the archive's files go: a folder of this machine, or of an object store.

Both keep one promise: a file is under its name as a whole, durably, or not at all.
"""

from __future__ import annotations

from typing import Protocol

from apache_beam.io.filesystems import FileSystems

from transforms.archive.local_folder import LocalFolder
from transforms.archive.object_folder import ObjectFolder
from transforms.errors import InvalidSetting


class Folder(Protocol):
    """A folder of final files."""

    def write(self, name: str, data: bytes) -> None:
        """Makes a file, whole and durable when this returns; ``name`` has ``/`` between its parts.

        Raises what the file system raises; then there is no file, or the whole one. To write the
        same again is no error.
        """

    def path(self, name: str) -> str:
        """Returns the file's full name."""

    def clean(self) -> int:
        """Removes what a writer left that was killed, and no other's; returns how many files."""

    def check(self) -> None:
        """Writes a file and removes it. Raises DestinationError where it is known what is wrong,
        else what the file system raises.
        """


def open_folder(path: str) -> Folder:
    """Returns the folder; makes nothing yet.

    Raises:
      InvalidSetting: no file system is known for the path's scheme.
    """
    scheme = FileSystems.get_scheme(path)
    if scheme is None:
        return LocalFolder(path)
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise InvalidSetting(
            f"archive folder {path!r}: no file system for {scheme}://; give gs://BUCKET/FOLDER or"
            " a local folder"
        ) from error
    return ObjectFolder(path)
