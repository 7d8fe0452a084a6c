"""The archive, as a part of a pipeline: its options, its check at the start, its branch.

    ArchivePubSub -> year=2026/month=11/day=23/hour=06/telemetry-….avro

It reads a subscription of its own and never waits for the rest of the pipeline, nor that for it. A
message is acknowledged when the file that holds it is final.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import apache_beam as beam

from pipelines.options import OptionError, option
from pipelines.preflight import Folder, Need, Subscription
from pipelines.readers import choice, folder, integer, pubsub_subscription, seconds
from transforms.archive import (
    LARGEST_FILE_BYTES,
    LONGEST_WINDOW_SECONDS,
    MOST_SHARDS,
    ArchivedFile,
    ArchivePubSub,
    ArchiveSettings,
    AvroCodec,
)


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """Options of a pipeline that can archive what it reads."""

    archive_subscription: str | None = option(
        "Pub/Sub subscription whose messages are archived: one of its own, on the same topic.",
        parse=pubsub_subscription,
        example="projects/my-project/subscriptions/telemetry-archive",
        default=None,
    )
    archive_folder: str | None = option(
        "Folder, gs:// or local, for the archive: Avro files by the hour in which Pub/Sub took the"
        " messages. Needs archive_subscription; without both there is no archive.",
        parse=folder,
        example="gs://my-bucket/archive",
        default=None,
    )
    archive_window_seconds: float = option(
        "An archive file is closed so long after its first message, or sooner when it is large.",
        parse=seconds(1, LONGEST_WINDOW_SECONDS),
        example="300",
        default=60.0,
    )
    archive_file_bytes: int = option(
        "An archive file is closed when it has so many bytes before compression.",
        parse=integer(1, LARGEST_FILE_BYTES),
        example="16777216",
        default=32 * 1024 * 1024,
    )
    archive_shards: int = option(
        "How many archive files the messages are dealt to at a time.",
        parse=integer(1, MOST_SHARDS),
        example="4",
        default=1,
    )
    archive_codec: str = option(
        "Compression of the archive's files: deflate, which every reader of Avro knows, zstandard,"
        " which costs a sixth of its CPU time, or null (none). BigQuery loads all three.",
        parse=choice(**{codec.value: codec.value for codec in AvroCodec}),
        example="deflate",
        default=AvroCodec.DEFLATE.value,
    )

    def archives(self) -> tuple[str, ArchiveSettings] | None:
        """The archive's subscription and settings; None without an archive."""
        if self.archive_subscription is None or self.archive_folder is None:
            return None
        return self.archive_subscription, ArchiveSettings(
            folder=self.archive_folder,
            window_seconds=self.archive_window_seconds,
            file_bytes=self.archive_file_bytes,
            shards=self.archive_shards,
            codec=AvroCodec(self.archive_codec),
        )

    def check_apart(self, input_subscription: str) -> None:
        """Raises OptionError where the archive's options contradict each other or the input's."""
        if (self.archive_folder is None) != (self.archive_subscription is None):
            missing = "folder" if self.archive_folder is None else "subscription"
            raise OptionError(
                f"--archive_{missing} is missing: --archive_folder and --archive_subscription go"
                " together"
            )
        idle = [] if self.archive_folder is not None else list(self._not_defaults())
        if idle:
            raise OptionError(
                f"{' and '.join(f'--{name}' for name in idle)}"
                f" {'needs' if len(idle) == 1 else 'need'} --archive_folder and"
                " --archive_subscription: without them there is no archive"
            )
        if self.archive_subscription == input_subscription:
            raise OptionError(
                "--archive_subscription and --input_subscription must be two subscriptions: what"
                " one reader takes from a subscription no other gets"
            )

    def _not_defaults(self) -> Iterator[str]:
        """Names what would do something to an archive; a default that is spelt out does nothing."""
        for item in fields(ArchiveOptions):
            if getattr(self, item.name) != item.default:
                yield item.name


def needs(options: ArchiveOptions) -> tuple[Need, ...]:
    """Returns subscription and folder, if there is an archive."""
    found = options.archives()
    if found is None:
        return ()
    subscription, settings = found
    return Subscription(name=subscription), Folder(name=settings.folder, tried=True)


def with_archive(
    tail: beam.PCollection, options: ArchiveOptions, *, default_schema: str | None
) -> beam.PCollection:
    """Wires the archive beside a pipeline whose end is ``tail``; returns the end of both."""
    found = options.archives()
    if found is None:
        return tail
    subscription, settings = found
    archived = (
        tail.pipeline
        | "Archive" >> ArchivePubSub(subscription, settings, default_schema_id=default_schema)
        | "Archived" >> beam.Filter(_none)
    )
    return (tail, archived) | "Ends" >> beam.Flatten()


def _none(file: ArchivedFile) -> bool:
    """Lets nothing pass: the end of a pipeline is empty."""
    return False
