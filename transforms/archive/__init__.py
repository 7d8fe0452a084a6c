"""`ArchivePubSub`: a subscription with telemetry to Avro files, by the hour. `ReadArchive`: what
they hold, as messages (`reading`).

Guarantee
  At least once. A message is acknowledged to Pub/Sub when the file that holds it is final: whole,
  durable and under its name. No file is ever seen half-written. What can't be decoded is archived
  with its reason; nothing is left out.
Unit of parallelism
  A worker process, on a streaming pull of its own. A subscription of its own, too: what the archive
  waits for holds up nobody else.
Ordering
  Within a file, as read.
Types
  In: nothing; it is a read. Out: `ArchivedFile`, one for each file that is final. Records:
  `record.SCHEMA`. Names: see `naming`.
Errors
  A folder that can't be written is tried again for `retry_seconds`, then DestinationUnavailable
  ends the bundle. `check_archive` finds it before the start.
Runners
  Windows and state of the local runner live in memory, so nothing is left to them: the step that
  fills files is in the read's own stage and acknowledges by hand, whatever becomes of the bundle.
  It needs no finalization, and so no checkpoint, on Flink either. On Dataflow, where the source
  acknowledges when a bundle is committed, messages wait in the service's state (`grouped`).
Metrics
  Namespace `archive`: files, messages, rejected, late; file_bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from schemas.codec import Codec
from transforms.archive.archiver import ArchivedFile, Archiver
from transforms.archive.container import AvroCodec
from transforms.archive.folder import open_folder
from transforms.archive.grouped import ArchiveBatches
from transforms.archive.reading import ReadArchive
from transforms.archive.record import RecordEncoder
from transforms.archive.settings import (
    HELD_SECONDS,
    LARGEST_FILE_BYTES,
    LONGEST_WINDOW_SECONDS,
    MOST_BYTES,
    MOST_MESSAGES,
    MOST_SHARDS,
    ArchiveSettings,
)
from transforms.errors import DestinationError, DestinationRefused
from transforms.pubsubio import HeldMessages, ReadFromPubSub
from transforms.shared import Shared
from transforms.stop import stop_requested

__all__ = [
    "LARGEST_FILE_BYTES",
    "LONGEST_WINDOW_SECONDS",
    "MOST_SHARDS",
    "ArchivePubSub",
    "ArchiveSettings",
    "ArchivedFile",
    "AvroCodec",
    "ReadArchive",
    "check_archive",
]

_NAMESPACE = "archive"


class ArchivePubSub(beam.PTransform):
    """Archives a subscription; see the module for guarantee, parallelism, types and errors.

    Args:
      subscription: `projects/P/subscriptions/S`, read by nobody else.
      settings: how files are written.
      default_schema_id: the schema of messages that name none; without one their payload may be
        any JSON object.

    Output: PCollection of ArchivedFile.
    """

    def __init__(
        self, subscription: str, settings: ArchiveSettings, *, default_schema_id: str | None = None
    ) -> None:
        super().__init__()
        Codec.packaged(default_schema_id=default_schema_id)  # an unknown one is refused now
        open_folder(settings.folder)
        self._subscription = subscription
        self._settings = settings
        self._default_schema_id = default_schema_id

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the read and what fills the files."""
        runner = pbegin.pipeline.options.view_as(StandardOptions).runner or ""
        if "Dataflow" in runner:
            messages = pbegin | "Read" >> ReadFromPubSub(self._subscription, lists=True)
            files = messages | "Archive" >> ArchiveBatches(
                self._settings,
                origin=self._subscription,
                default_schema_id=self._default_schema_id,
            )
            return files | "Count" >> beam.ParDo(_Count()).with_output_types(ArchivedFile)
        fill = _Fill(self._subscription, self._settings, self._default_schema_id)
        return (
            pbegin
            | "Read"
            >> ReadFromPubSub(
                self._subscription,
                held=True,
                most_messages=MOST_MESSAGES,
                most_bytes=MOST_BYTES,
                longest_seconds=HELD_SECONDS,
            )
            | "Fill" >> beam.ParDo(fill).with_output_types(ArchivedFile)
            | "Count" >> beam.ParDo(_Count()).with_output_types(ArchivedFile)
        )


def check_archive(folder: str) -> None:
    """Writes to the folder and removes it again.

    Raises:
      DestinationMissing: its bucket does not exist.
      DestinationRefused: it can't be written.
    """
    try:
        open_folder(folder).check()
    except DestinationError:
        raise
    except Exception as error:  # each file system has its own; it is told whole
        raise DestinationRefused(
            f"the archive's folder {folder} can't be written: {type(error).__name__}: {error}; give"
            " this account the right to create, replace and delete files in it"
        ) from error


class _Fill(beam.DoFn):
    """Hands lists to the process's archiver, and has it close files at the end of each bundle.

    An idle source runs bundles without messages all the time, so a file's time is never long over.
    """

    def __init__(
        self, subscription: str, settings: ArchiveSettings, default_schema_id: str | None
    ) -> None:
        self._subscription = subscription
        self._settings = settings
        self._default_schema_id = default_schema_id

    def setup(self) -> None:
        self._archiver = _OPEN.get((self._subscription, self._settings.folder), self._opened)

    def process(self, element: HeldMessages) -> Iterator[ArchivedFile]:
        self._archiver.add(element)
        yield from self._archiver.close_due()

    def finish_bundle(self) -> Iterable[WindowedValue]:
        # The bundle in which the source sees that it is to end is the last; nothing is read after.
        files = self._archiver.close_due(everything=stop_requested())
        return [WindowedValue(file, MIN_TIMESTAMP, [GlobalWindow()]) for file in files]

    def _opened(self) -> Archiver:
        folder = open_folder(self._settings.folder)
        folder.clean()
        encoder = RecordEncoder(
            origin=self._subscription, default_schema_id=self._default_schema_id
        )
        return Archiver(folder, self._settings, encoder)


class _Count(beam.DoFn):
    """Counts files."""

    def __init__(self) -> None:
        self._files = Metrics.counter(_NAMESPACE, "files")
        self._messages = Metrics.counter(_NAMESPACE, "messages")
        self._rejected = Metrics.counter(_NAMESPACE, "rejected")
        self._late = Metrics.counter(_NAMESPACE, "late")
        self._bytes = Metrics.distribution(_NAMESPACE, "file_bytes")

    def process(self, element: ArchivedFile) -> Iterator[ArchivedFile]:
        self._files.inc()
        self._messages.inc(element.messages)
        self._rejected.inc(element.rejected)
        self._late.inc(element.messages if element.late else 0)
        self._bytes.update(element.bytes)
        yield element


_OPEN: Shared[tuple[str, str], Archiver] = Shared(
    lambda archiver, settle_seconds: archiver.abandon()
)
