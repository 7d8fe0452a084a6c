"""The archive where the runner's state is durable (Dataflow): messages wait in it, not in leases.

    PubsubMessage -> (hour, late, shard; message) -> state of the key -> files

There the source acknowledges when a bundle is committed, and what is committed is in the service's
state until it has been written. A key's messages are written when their bytes are those of a file,
when they are many, or when the first of them has waited for the window. A bundle that is tried
again makes the same names, which are hashes of the messages' ids, and so the same files.

Beam's GroupIntoBatches would do but for the bytes: its batches are bounded by their number in
Python, and messages may have 10 MB each. A batch is in a worker's memory as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)

from transforms.archive.archiver import ArchivedFile, write_file
from transforms.archive.container import Container
from transforms.archive.folder import Folder, open_folder
from transforms.archive.naming import Place, file_name, hour_of, is_late, shard_of
from transforms.archive.record import SCHEMA, RecordEncoder, published_time
from transforms.archive.settings import MOST_MESSAGES, ArchiveSettings
from transforms.lists import MessageList

_Key = tuple[int, bool, int]

_MESSAGES = BagStateSpec("messages", BytesCoder())
_SIZE = ReadModifyWriteStateSpec("size", TupleCoder((VarIntCoder(), VarIntCoder())))
_WAITED = TimerSpec("waited", TimeDomain.REAL_TIME)
_DRAINED = TimerSpec("drained", TimeDomain.WATERMARK)
_OF_MESSAGES, _OF_SIZE = beam.DoFn.StateParam(_MESSAGES), beam.DoFn.StateParam(_SIZE)
_FOR_WAITED, _FOR_DRAINED = beam.DoFn.TimerParam(_WAITED), beam.DoFn.TimerParam(_DRAINED)


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
            | "Key" >> beam.FlatMap(_keyed, self._settings).with_output_types(tuple[_Key, bytes])
            | "Batch"
            >> beam.ParDo(_Batch(self._settings)).with_output_types(tuple[_Key, Iterable[bytes]])
            | "Write" >> beam.ParDo(self._write).with_output_types(ArchivedFile)
        )


def _keyed(
    messages: MessageList[PubsubMessage], settings: ArchiveSettings
) -> Iterator[tuple[_Key, bytes]]:
    """Gives messages under their place, in the form that the service has for them."""
    now = datetime.now(UTC)
    for message in messages:
        hour = hour_of(published_time(message))
        late = is_late(hour, now=now, late_after_seconds=settings.late_after_seconds)
        key = hour, late, shard_of(message.message_id, settings.shards)
        yield key, message._to_proto_str(for_publish=False)


class _Batch(beam.DoFn):
    """Keeps a key's messages until they are a file's."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._window_seconds = settings.window_seconds
        self._file_bytes = settings.file_bytes
        self._most_messages = MOST_MESSAGES // 2

    def process(
        self,
        element: tuple[_Key, bytes],
        window: Any = beam.DoFn.WindowParam,
        messages: Any = _OF_MESSAGES,
        size: Any = _OF_SIZE,
        waited: Any = _FOR_WAITED,
        drained: Any = _FOR_DRAINED,
    ) -> Iterator[tuple[_Key, list[bytes]]]:
        key, data = element
        count, total = size.read() or (0, 0)
        messages.add(data)
        if not count:
            waited.set(time.time() + self._window_seconds)
            # The end of the global window, which comes when the job is drained.
            drained.set(window.end)
        count, total = count + 1, total + len(data)
        size.write((count, total))
        if count >= self._most_messages or total >= self._file_bytes:
            waited.clear()
            yield from _taken(key, messages, size)

    @on_timer(_WAITED)
    def on_waited(
        self,
        key: Any = beam.DoFn.KeyParam,
        messages: Any = _OF_MESSAGES,
        size: Any = _OF_SIZE,
    ) -> Iterator[tuple[_Key, list[bytes]]]:
        """The first of them has waited for the window."""
        return _taken(key, messages, size)

    @on_timer(_DRAINED)
    def on_drained(
        self,
        key: Any = beam.DoFn.KeyParam,
        messages: Any = _OF_MESSAGES,
        size: Any = _OF_SIZE,
        waited: Any = _FOR_WAITED,
    ) -> Iterator[tuple[_Key, list[bytes]]]:
        """Nothing more will come."""
        waited.clear()
        return _taken(key, messages, size)


def _taken(key: _Key, messages: Any, size: Any) -> Iterator[tuple[_Key, list[bytes]]]:
    """Gives what the state holds and empties it."""
    batch = list(messages.read())
    messages.clear()
    size.clear()
    if batch:
        yield key, batch


class _WriteBatch(beam.DoFn):
    """Writes a batch as a file, or as several where its records are larger than its messages."""

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

    def process(self, element: tuple[_Key, Iterable[bytes]]) -> Iterator[ArchivedFile]:
        (hour, late, shard), batch = element
        place = Place(hour=hour, late=late, shard=shard)
        file = _File(place, self._settings)
        for data in batch:
            message = PubsubMessage._from_proto_str(data)
            file.add(message, self._encoder)
            if file.container.record_bytes >= self._settings.file_bytes:
                yield file.write(self._folder)
                file = _File(place, self._settings)
        if file.container.records:
            yield file.write(self._folder)


class _File:
    """A file that is being filled."""

    def __init__(self, place: Place, settings: ArchiveSettings) -> None:
        self.container = Container(SCHEMA, settings.codec)
        self._place = place
        self._settings = settings
        self._ids: list[str] = []
        self._begun = datetime.max.replace(tzinfo=UTC)
        self._rejected = 0

    def add(self, message: PubsubMessage, encoder: RecordEncoder) -> None:
        """Adds a message."""
        record = encoder.encode(message)
        self.container.add(record.data)
        self._rejected += record.rejected
        self._ids.append(message.message_id)
        self._begun = min(self._begun, published_time(message))

    def write(self, folder: Folder) -> ArchivedFile:
        """Makes it final. Raises DestinationUnavailable."""
        ids = "\n".join(sorted(self._ids))
        name = file_name(
            self._place,
            begun=self._begun,
            writer=blake2b(ids.encode(), digest_size=8).hexdigest(),
            number=0,
            shards=self._settings.shards,
        )
        data = self.container.finish()
        write_file(folder, name, data, retry_seconds=self._settings.retry_seconds)
        return ArchivedFile(
            path=folder.path(name),
            messages=self.container.records,
            rejected=self._rejected,
            late=self._place.late,
            bytes=len(data),
        )
