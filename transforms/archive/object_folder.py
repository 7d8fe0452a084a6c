"""A folder of an object store (``gs://…``), by Beam's file systems.

An object is seen when its upload is complete and not before; an upload that is broken off leaves
nothing that is listed, so there is nothing to clean. The whole file is handed over in one write:
what is left in a writer that fails can't be taken for the end of the object.
"""

from __future__ import annotations

import secrets

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


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
        file.write(data)
        file.close()

    def clean(self) -> int:
        """Nothing is left over."""
        return 0

    def check(self) -> None:
        """Writes an object and removes it; raises what the file system raises."""
        name = f".check-{secrets.token_hex(8)}"
        self.write(name, b"")
        FileSystems.delete([self.path(name)])
