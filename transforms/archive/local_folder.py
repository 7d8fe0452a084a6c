"""A folder of this machine: temporary file, fsync, rename, fsync of the folder.

Killed before the rename, the writer leaves a temporary file under ``.partial/``, which no reader
of ``year=…`` looks into. While it lives it holds a lock (flock) on it, which ends with the process
however that ends; so whoever starts can tell a dead writer's leftovers from a living one's work.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

_PARTIAL = ".partial"


class LocalFolder:
    """See the module, and ``transforms.archive.folder.Folder``."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._partial = self._folder / _PARTIAL

    def path(self, name: str) -> str:
        """Returns the file's path."""
        return str(self._folder / name)

    def write(self, name: str, data: bytes) -> None:
        """Makes a file; raises OSError."""
        final = self._folder / name
        temporary, descriptor = self._create(final.name)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                self._make(final.parent)
                # The lock holds until the file is closed, which is behind the rename.
                temporary.rename(final)
            _sync_folder(final.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def clean(self) -> int:
        """Removes temporary files whose writer is gone; raises OSError."""
        removed = 0
        for path in self._partial.glob("*"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed

    def check(self) -> None:
        """Writes a temporary file and removes it; raises OSError."""
        path, descriptor = self._create("check")
        os.close(descriptor)
        path.unlink(missing_ok=True)

    def _create(self, name: str) -> tuple[Path, int]:
        """Returns a new temporary file that is locked."""
        self._make(self._partial)
        while True:
            path = self._partial / f"{name}.{os.getpid()}-{secrets.token_hex(4)}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # One that cleans may have locked and removed it in between.
                if os.fstat(descriptor).st_nlink:
                    return path, descriptor
            except BaseException:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
            os.close(descriptor)

    def _make(self, folder: Path) -> None:
        """Makes a folder of the archive, durably."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Makes the folder's names durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
