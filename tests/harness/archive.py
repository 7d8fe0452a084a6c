"""What has arrived in an archive, read as its users read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastavro


class Archive:
    """The files of a local archive; each is read once, whole, as soon as it is seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self._read: set[Path] = set()

    def __call__(self) -> int:
        """How many distinct messages are in the files that are there by now."""
        self.read()
        return len(self.ids)

    @property
    def ids(self) -> set[str]:
        return {record["message_id"] for record in self.records}

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("year=*/month=*/day=*/hour=*/*.avro"))

    @property
    def leftovers(self) -> list[Path]:
        return [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and path not in set(self.files)
        ]

    def read(self) -> None:
        for path in self.files:
            if path not in self._read:
                self._read.add(path)
                self.records += self.records_of(path)

    @staticmethod
    def records_of(path: Path) -> list[dict[str, Any]]:
        with path.open("rb") as file:
            return list(fastavro.reader(file))  # type: ignore[arg-type]  # of records
