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
  there are no half-written files, so something else is wrong, and it is not passed over. A folder
  without files of that time is no error: there is nothing to read.
Metrics
  Namespace `archive`: files_read (with messages of that time in them), messages_read.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from transforms.archive.naming import HOUR_SECONDS, hour_of
from transforms.archive.record import SCHEMA
from transforms.errors import SourceUnreadable

_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing was archived before; a year is a list request."""
_NEEDED = frozenset({"raw", "attributes", "ordering_key", "published_time"})


class ReadArchive(beam.PTransform):
    """Reads what Pub/Sub took from ``since`` until just before ``until``.

    Args:
      folder: the archive's, gs:// or local.
      since, until: times with a zone.

    Raises:
      ValueError: when built, if there is no time between the two, they have no zone, or the folder
        is none that can be listed.

    Output: PCollection of PubsubMessage.
    """

    def __init__(self, folder: str, *, since: datetime, until: datetime) -> None:
        super().__init__()
        if since.tzinfo is None or until.tzinfo is None:
            raise ValueError("since and until: must have a time zone")
        if since >= until:
            raise ValueError(f"since {since} must be before until {until}")
        self._folder = check_listed(folder)
        self._since, self._until = since.astimezone(UTC), until.astimezone(UTC)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the read: folders of hours, their files, their records."""
        return (
            pbegin
            | "Folders" >> beam.Create(folders_of(self._since, self._until))
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
        if count:
            self._files.inc()
            self._messages.inc(count)


def check_listed(folder: str) -> str:
    """Returns the folder. Raises ValueError for one that would be taken for a pattern."""
    if not folder or set(folder) & set("*?[]"):
        raise ValueError(f"folder {folder!r}: must not be empty, nor hold any of * ? [ ]")
    return folder


def folders_of(since: datetime, until: datetime) -> list[str]:
    """Returns patterns of folders for the hours that hold the times from ``since`` to before
    ``until``: whole years, months and days where there are some, so that few are listed.
    """
    hour = hour_of(max(since, _FIRST))
    end = hour_of(until - timedelta(microseconds=1)) + 1
    patterns = []
    while hour < end:
        begin = datetime.fromtimestamp(hour * HOUR_SECONDS, UTC)
        for span, pattern in _spans(begin):
            if hour + span <= end:
                patterns.append(pattern)
                hour += span
                break
    return patterns


def _spans(begin: datetime) -> Iterator[tuple[int, str]]:
    """Gives the spans that begin at an hour, in hours, the longest first, with their patterns."""
    if begin.hour == 0:
        if begin.day == 1:
            if begin.month == 1:
                year = 366 if calendar.isleap(begin.year) else 365
                yield 24 * year, f"{begin:year=%Y}/month=*/day=*/hour=*"
            month = calendar.monthrange(begin.year, begin.month)[1]
            yield 24 * month, f"{begin:year=%Y/month=%m}/day=*/hour=*"
        yield 24, f"{begin:year=%Y/month=%m/day=%d}/hour=*"
    yield 1, f"{begin:year=%Y/month=%m/day=%d/hour=%H}"


def files_of(pattern: str, folder: str) -> list[str]:
    """Returns the archive's files in the folders of a pattern, sorted."""
    (found,) = FileSystems.match([FileSystems.join(folder, *pattern.split("/"), "*.avro")])
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
    except SourceUnreadable:
        raise
    except Exception as error:  # a damaged file can make the decoder fail in any way
        raise SourceUnreadable(
            f"{path} can't be read as a file of the archive: {type(error).__name__}: {error}"
        ) from error
