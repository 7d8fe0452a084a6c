"""What the archive holds of this run, read from its files as anybody reads them."""

import threading
from collections import Counter
from pathlib import Path

import fastavro

from localcloud.archive import archive_files, messages_in

POLL_SECONDS = 2.0
# Of transforms.archive.record, whose import would hold up the start by that of Beam. Only what is
# asked of a record is decoded.
_ATTRIBUTES = {
    "type": "record",
    "name": "mqttbeam.archived_telemetry_v1",
    "fields": [{"name": "attributes", "type": {"type": "map", "values": "string"}}],
}


class Archive:
    """The files that come to a folder from now on; each is read once, as it is final when seen.

    `files` and `messages` count them as of the last look.
    """

    def __init__(self, folder: Path) -> None:
        self.files = 0
        self.messages = 0
        self._folder = folder
        self._counted = set(archive_files(folder))
        self._read = set(self._counted)
        self._copies: Counter[str] = Counter()

    def look(self) -> None:
        """Count what has come."""
        for path in self._new(self._counted):
            self.messages += messages_in(path)
            self.files += 1
            self._counted.add(path)

    def copies(self, run_id: str) -> dict[str, int]:
        """Return each message id of a run with the number of its records."""
        for path in self._new(self._read):
            with path.open("rb") as file:
                for record in fastavro.reader(file, _ATTRIBUTES):
                    message_id = record["attributes"].get("messageId", "")  # type: ignore[call-overload, index, union-attr]  # records are dicts
                    if message_id.startswith(f"{run_id}-"):
                        self._copies[message_id] += 1
            self._read.add(path)
        return dict(self._copies)

    def _new(self, known: set[Path]) -> list[Path]:
        return [path for path in archive_files(self._folder) if path not in known]


class ArchiveCounter:
    """A thread that keeps an archive's counts up to date.

    An error of its own is kept in `error`, for the runner to raise.
    """

    def __init__(self, archive: Archive) -> None:
        self.error: Exception | None = None
        self._archive = archive
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="count archive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.wait(POLL_SECONDS):
                self._archive.look()
        except (OSError, ValueError) as error:  # ValueError: what fastavro says of a broken file
            self.error = error
