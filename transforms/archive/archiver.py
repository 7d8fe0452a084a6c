"""Files that are being filled, and the messages that wait for them to be final.

Everything is in memory until a file is closed: the messages are, too, as long as they are leased.
What happens on ``kill -9`` is then short to tell:

    before the file is final     the messages are leased by nobody and come again
    final, not acknowledged      they come again, and are in the archive twice
    acknowledged                 they are in a file that is final
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from apache_beam.io.gcp.pubsub import PubsubMessage

from mqtt.client.backoff import Backoff
from transforms.archive.container import Container
from transforms.archive.folder import Folder
from transforms.archive.naming import Place, file_name, hour_of, is_late, shard_of
from transforms.archive.record import SCHEMA, RecordEncoder, published_time
from transforms.archive.settings import MOST_BYTES, MOST_MESSAGES, ArchiveSettings
from transforms.errors import DestinationUnavailable
from transforms.stop import stop_requested, wait_for_stop

_LOGGER = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 10.0


class Held(Protocol):
    """Messages that stay leased until one of the two is called (`pubsubio.HeldMessages`)."""

    def __iter__(self) -> Iterator[PubsubMessage]:
        """The messages."""

    def acknowledge(self) -> None:
        """They are stored elsewhere."""

    def give_back(self) -> None:
        """They are not, and shall come again."""


class ArchivedFile(NamedTuple):
    """A file that is final."""

    path: str
    messages: int
    rejected: int
    late: bool
    bytes: int


@dataclass(eq=False)
class _Hold:
    """A list of messages, and in how many files that are not final some of it is."""

    messages: Held
    files: int = 0


@dataclass(eq=False)
class _OpenFile:
    container: Container
    begun: datetime
    since: float
    rejected: int = 0
    holds: list[_Hold] = field(default_factory=list)


class Archiver:
    """Fills files and makes them final; one a worker process and archive, from any thread.

    Args:
      folder: where the files go.
      settings: how they are written.
      encoder: makes records.
      clock: the time, in UTC.
      monotonic: seconds, for windows.
    """

    def __init__(
        self,
        folder: Folder,
        settings: ArchiveSettings,
        encoder: RecordEncoder,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._encoder = encoder
        self._clock = clock
        self._monotonic = monotonic
        self._writer = secrets.token_hex(8)
        self._number = 0
        self._lock = threading.RLock()
        self._open: dict[Place, _OpenFile] = {}
        self._messages = 0
        self._bytes = 0

    def add(self, messages: Held) -> None:
        """Takes the messages over: acknowledges them when they are final.

        What an error leaves is given back as a whole: a list of which a part is in a file must
        never be acknowledged with it.
        """
        with self._lock:
            now, since = self._clock(), self._monotonic()
            try:
                records = [
                    (self._place(item, now), self._encoder.encode(item)) for item in messages
                ]
            except BaseException:
                messages.give_back()
                raise
            hold = _Hold(messages)
            for place in {place for place, _ in records}:
                file = self._open.get(place)
                if file is None:
                    container = Container(SCHEMA, self._settings.codec)
                    file = self._open[place] = _OpenFile(container, now, since)
                file.holds.append(hold)
                hold.files += 1
            for place, record in records:
                file = self._open[place]
                file.container.add(record.data)
                file.rejected += record.rejected
                self._bytes += len(record.data)
            self._messages += len(records)

    def close_due(self, *, everything: bool = False) -> list[ArchivedFile]:
        """Makes final what is old or large enough, or all of it, and acknowledges.

        Raises:
          DestinationUnavailable: the folder could not be written for ``retry_seconds``; what was
            held is given back.
        """
        with self._lock:
            # Pub/Sub sends nothing more when too much is held, in however many files.
            everything |= self._messages >= MOST_MESSAGES // 2 or self._bytes >= MOST_BYTES // 2
            now = self._monotonic()
            due = [
                place
                for place, file in self._open.items()
                if everything
                or now - file.since >= self._settings.window_seconds
                or file.container.record_bytes >= self._settings.file_bytes
            ]
            return [self._close(place) for place in due]

    def abandon(self) -> None:
        """Forgets what is open and gives its messages back."""
        with self._lock:
            files = list(self._open.values())
            self._open.clear()
            self._messages = self._bytes = 0
            for hold in {id(hold): hold for file in files for hold in file.holds}.values():
                hold.messages.give_back()

    def _place(self, message: PubsubMessage, now: datetime) -> Place:
        hour = hour_of(published_time(message))
        return Place(
            hour=hour,
            late=is_late(hour, now=now, late_after_seconds=self._settings.late_after_seconds),
            shard=shard_of(message.message_id or "", self._settings.shards),
        )

    def _close(self, place: Place) -> ArchivedFile:
        file = self._open[place]
        self._number += 1
        name = file_name(
            place,
            begun=file.begun,
            writer=self._writer,
            number=self._number,
            shards=self._settings.shards,
        )
        data = file.container.finish()
        try:
            write_file(self._folder, name, data, retry_seconds=self._settings.retry_seconds)
        except BaseException:
            self.abandon()
            raise
        del self._open[place]
        self._messages -= file.container.records
        self._bytes -= file.container.record_bytes
        for hold in file.holds:
            hold.files -= 1
            if not hold.files:
                hold.messages.acknowledge()
        return ArchivedFile(
            path=self._folder.path(name),
            messages=file.container.records,
            rejected=file.rejected,
            late=place.late,
            bytes=len(data),
        )


def write_file(folder: Folder, name: str, data: bytes, *, retry_seconds: float) -> None:
    """Writes a file, again and again for ``retry_seconds`` or until the pipeline is to stop.

    Raises:
      DestinationUnavailable: it could not be written; names the file and the last reason.
    """
    backoff = Backoff(initial_seconds=0.1, maximum_seconds=2.0)
    started = time.monotonic()
    logged = started - _LOG_EVERY_SECONDS
    while True:
        try:
            folder.write(name, data)
        except Exception as error:  # each file system has its own; the last one is told
            now = time.monotonic()
            if stop_requested() or now - started >= retry_seconds:
                raise DestinationUnavailable(
                    f"the archive can't be written: {folder.path(name)}:"
                    f" {type(error).__name__}: {error}; its messages are not acknowledged and"
                    " come again"
                ) from error
            if now - logged >= _LOG_EVERY_SECONDS:
                logged = now
                _LOGGER.warning(
                    "archive: %s: %s: %s; trying again for %.0f s",
                    *(folder.path(name), type(error).__name__, error, now - started),
                )
            wait_for_stop(backoff.next_pause_seconds())
        else:
            return
