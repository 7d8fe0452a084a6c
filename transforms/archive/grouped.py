"""The archive where the runner's state is durable (Dataflow): messages wait in it, not in leases.

    PubsubMessage -> (hour and shard, message) -> GroupIntoBatches -> one file a batch

There the source acknowledges when a bundle is committed, and what is committed is in the service's
state until the batch that it is in has been written. A batch that is tried again makes the same
name, which is a hash of its messages' ids, and so the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage

from transforms.archive.archiver import ArchivedFile, write_file
from transforms.archive.container import Container
from transforms.archive.folder import open_folder
from transforms.archive.naming import Place, file_name, hour_of, is_late, shard_of
from transforms.archive.record import SCHEMA, RecordEncoder, published_time
from transforms.archive.settings import ArchiveSettings
from transforms.lists import MessageList

_BATCH_MESSAGES = 20_000
"""A batch is in a worker's memory as a whole, and has no bound in bytes."""


class ArchiveBatches(beam.PTransform):
    """Archives messages by way of the runner's state.

    Args:
      settings: how files are written.
      origin: where the messages come from, as reasons name it.
      default_schema_id: the schema of messages that name none.

    Input: PCollection of MessageList[PubsubMessage], in the global window.
    Output: PCollection of ArchivedFile.
    """

    def __init__(
        self, settings: ArchiveSettings, *, origin: str, default_schema_id: str | None
    ) -> None:
        super().__init__()
        self._settings = settings
        self._write = _WriteBatch(settings, origin, default_schema_id)

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Key, batch, write."""
        return (
            pcoll
            | "Key"
            >> beam.FlatMap(_keyed, self._settings.shards).with_output_types(
                tuple[tuple[int, int], bytes]
            )
            | "Batch"
            >> beam.GroupIntoBatches(
                _BATCH_MESSAGES, max_buffering_duration_secs=self._settings.window_seconds
            )
            | "Write" >> beam.ParDo(self._write).with_output_types(ArchivedFile)
        )


def _keyed(
    messages: MessageList[PubsubMessage], shards: int
) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Gives messages under their hour and shard, in the form that the service has for them."""
    for message in messages:
        key = hour_of(published_time(message)), shard_of(message.message_id, shards)
        yield key, message._to_proto_str(for_publish=False)


class _WriteBatch(beam.DoFn):
    """Writes a batch as a file."""

    def __init__(
        self, settings: ArchiveSettings, origin: str, default_schema_id: str | None
    ) -> None:
        self._settings = settings
        self._origin = origin
        self._default_schema_id = default_schema_id

    def setup(self) -> None:
        self._folder = open_folder(self._settings.folder)
        self._encoder = RecordEncoder(
            origin=self._origin, default_schema_id=self._default_schema_id
        )

    def process(self, element: tuple[tuple[int, int], Iterable[bytes]]) -> Iterator[ArchivedFile]:
        (hour, shard), batch = element
        settings = self._settings
        messages = [PubsubMessage._from_proto_str(data) for data in batch]
        container = Container(SCHEMA, settings.codec)
        rejected = 0
        for message in messages:
            record = self._encoder.encode(message)
            container.add(record.data)
            rejected += record.rejected
        late = is_late(hour, now=datetime.now(UTC), late_after_seconds=settings.late_after_seconds)
        ids = "\n".join(sorted(message.message_id for message in messages))
        name = file_name(
            Place(hour=hour, late=late, shard=shard),
            begun=min(map(published_time, messages)),
            writer=blake2b(ids.encode(), digest_size=8).hexdigest(),
            number=0,
            shards=settings.shards,
        )
        data = container.finish()
        write_file(self._folder, name, data, retry_seconds=settings.retry_seconds)
        yield ArchivedFile(
            path=self._folder.path(name),
            messages=len(messages),
            rejected=rejected,
            late=late,
            bytes=len(data),
        )
