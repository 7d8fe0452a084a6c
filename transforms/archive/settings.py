"""How an archive is written."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.archive.container import AvroCodec
from transforms.errors import InvalidSetting

MOST_MESSAGES = 100_000
MOST_BYTES = 128 * 1024 * 1024
"""What a worker process may hold unacknowledged: Pub/Sub sends no more (`max_outstanding_messages`,
`max_outstanding_bytes`). Everything is closed at half of it, so at R messages a second after
50,000 / R seconds at the latest: five at 10,000 a second, the whole window of 60 below 833. The
other half is what Pub/Sub may send while files are written. A record is larger than its message,
so what is counted here is never less than what Pub/Sub counts."""

HELD_SECONDS = 3_600.0
"""So long the lease of a message is extended, as in Google's own clients; it waits a window for its
file at most, and then for the folder."""
LONGEST_WINDOW_SECONDS = 600.0
LONGEST_RETRY_SECONDS = 1_800.0
LARGEST_FILE_BYTES = MOST_BYTES // 2
MOST_SHARDS = 100


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings:
    """How an archive is written.

    Attributes:
      folder: `gs://bucket/folder` or a local folder.
      window_seconds: a file is closed so long after its first message.
      file_bytes: or when its records have so many bytes before compression.
      shards: files that an hour's messages are dealt to at a time.
      codec: of the files' blocks.
      late_after_seconds: what is archived so long after its hour was over goes to a file of its
        own.
      retry_seconds: how long a folder that can't be written is tried before the bundle fails, and
        with it, on most runners, the pipeline.
    """

    folder: str
    window_seconds: float = 60.0
    file_bytes: int = 32 * 1024 * 1024
    shards: int = 1
    codec: AvroCodec = AvroCodec.DEFLATE
    late_after_seconds: float = 300.0
    retry_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not self.folder:
            raise InvalidSetting("folder is empty: gs://BUCKET/FOLDER or a local folder is needed")
        for name, value, low, high in (
            ("window_seconds", self.window_seconds, 0, LONGEST_WINDOW_SECONDS),
            ("file_bytes", self.file_bytes, 1, LARGEST_FILE_BYTES),
            ("shards", self.shards, 1, MOST_SHARDS),
            ("late_after_seconds", self.late_after_seconds, 0, float("inf")),
            ("retry_seconds", self.retry_seconds, 0, LONGEST_RETRY_SECONDS),
        ):
            if not low <= value <= high:
                raise InvalidSetting(f"{name} is {value}: {low} to {high} is needed")
