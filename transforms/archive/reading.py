"""``ReadArchive``: archived messages as Pub/Sub had them, to be sent again.

Guarantee
  Each record of each file that is there when it is read, once, if no bundle is tried again. The
  archive itself may hold copies of a message (see the package).
Unit of parallelism
  A file; files are shuffled, so that all workers read.
Ordering
  That of a file's records; none between files.
Types
  Out: PubsubMessage with the data, attributes and ordering key that it had.
Errors
  A file that can't be read, or is none of the archive's, raises SourceUnreadable with its name:
  there are no half-written files, so something else is wrong, and it is not passed over.
Metrics
  Namespace `archive`: files_read, messages_read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from transforms.archive.naming import folder_of, hour_of
from transforms.archive.record import SCHEMA
from transforms.errors import SourceUnreadable

_NEEDED = frozenset({"raw", "attributes", "ordering_key", "published_time"})


class ReadArchive(beam.PTransform):
    """Reads what Pub/Sub took from ``since`` until just before ``until``.

    Args:
      folder: the archive's, gs:// or local.
      since, until: times with a zone.

    Raises:
      ValueError: when built, if there is no time between the two, or they have no zone.

    Output: PCollection of PubsubMessage.
    """

    def __init__(self, folder: str, *, since: datetime, until: datetime) -> None:
        super().__init__()
        if since.tzinfo is None or until.tzinfo is None:
            raise ValueError("since and until: must have a time zone")
        if since >= until:
            raise ValueError(f"since {since} must be before until {until}")
        self._folder = folder
        self._since, self._until = since.astimezone(UTC), until.astimezone(UTC)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the read: an hour's folder, its files, their records."""
        return (
            pbegin
            | "Hours" >> beam.Create(hours_of(self._since, self._until))
            | "Files" >> beam.FlatMap(files_of, self._folder).with_output_types(str)
            | "Shuffle" >> beam.Reshuffle()
            | "Records"
            >> beam.ParDo(_Records(self._since, self._until)).with_output_types(PubsubMessage)
        )


class _Records(beam.DoFn):
    """A file's messages."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self._since, self._until = since, until
        self._files = Metrics.counter("archive", "files_read")
        self._messages = Metrics.counter("archive", "messages_read")

    def process(self, element: str) -> Iterator[PubsubMessage]:
        count = 0
        for message in messages_of(element, since=self._since, until=self._until):
            count += 1
            yield message
        self._files.inc()
        self._messages.inc(count)


def hours_of(since: datetime, until: datetime) -> range:
    """Returns the hours since the epoch that hold the times from ``since`` to before ``until``."""
    return range(hour_of(since), hour_of(until - timedelta(microseconds=1)) + 1)


def files_of(hour: int, folder: str) -> list[str]:
    """Returns the archive's files of an hour, sorted."""
    pattern = FileSystems.join(folder, *folder_of(hour).split("/"), "*.avro")
    (found,) = FileSystems.match([pattern])
    return sorted(item.path for item in found.metadata_list)


def messages_of(path: str, *, since: datetime, until: datetime) -> Iterator[PubsubMessage]:
    """Gives a file's messages of a time. Raises SourceUnreadable."""
    try:
        with FileSystems.open(path, compression_type="uncompressed") as file:
            reader: Any = fastavro.reader(file)  # its records may be of any type
            schema = reader.writer_schema
            fields = {field["name"] for field in schema.get("fields", ())}
            if not fields >= _NEEDED:
                raise SourceUnreadable(
                    f"{path} is no file of the archive: its records have no"
                    f" {', '.join(sorted(_NEEDED - fields))}, which {SCHEMA['name']} has"
                )
            for record in reader:
                if since <= record["published_time"] < until:
                    yield PubsubMessage(
                        record["raw"],
                        record["attributes"],
                        ordering_key=record["ordering_key"],
                    )
    except (BeamIOError, OSError, EOFError, ValueError, TypeError, KeyError) as error:
        raise SourceUnreadable(
            f"{path} can't be read as a file of the archive: {type(error).__name__}: {error}"
        ) from error
