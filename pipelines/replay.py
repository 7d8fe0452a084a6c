"""Replay: what the archive holds of a time, published again as it was.

    ReadArchive -> WriteToPubSub                 (ends by itself when all of it is published)

Data, attributes and ordering keys are those that the messages had, and so are their message ids:
who keeps the first of each has none twice. Between files no order is kept. What reads the topic
gets them like any others, its archive too: leave the time of a replay out of the range of the next.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import apache_beam as beam
from apache_beam.metrics.metric import MetricResults, MetricsFilter

from pipelines.launch import main
from pipelines.options import OptionError, option
from pipelines.preflight import Need, Topic, require
from pipelines.readers import folder, moment, pubsub_topic, seconds
from transforms.archive import ReadArchive
from transforms.archive.reading import files_of, folders_of
from transforms.errors import SourceUnreadable
from transforms.pubsubio import WriteToPubSub, fail_refused


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """Options of the replay."""

    archive_folder: str = option(
        "Folder of the archive, gs:// or local, as the warehouse pipeline was given it.",
        parse=folder,
        example="gs://my-bucket/archive",
    )
    since: datetime = option(
        "Replay what Pub/Sub took from then on.",
        parse=moment,
        example="2026-10-31T06:00:00Z",
    )
    until: datetime = option(
        "Replay what Pub/Sub took before then: not after now.",
        parse=moment,
        example="2026-10-31T09:30:00Z",
    )
    output_topic: str = option(
        "Pub/Sub topic to publish to.",
        parse=pubsub_topic,
        example="projects/my-project/topics/telemetry",
    )
    start_timeout_seconds: float = option(
        "How long the topic is waited for at the start before it fails.",
        parse=seconds(1, 3_600),
        example="60",
        default=60.0,
    )

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise OptionError(f"--since={self.since} must be before --until={self.until}")


def needs(options: ReplayOptions) -> tuple[Need, ...]:
    """Returns the topic."""
    return (Topic(name=options.output_topic),)


def check(options: ReplayOptions) -> None:
    """Looks for what it needs. Raises what ``require`` raises, OptionError for a time that is not
    over, and SourceUnreadable where the folder has nothing of that time.
    """
    if options.until > datetime.now(UTC):
        raise OptionError(
            f"--until={options.until} is not over yet: what is replayed may be archived, too, and"
            " would be replayed again; give a time that is over"
        )
    require(needs(options), timeout_seconds=options.start_timeout_seconds)
    folders = folders_of(options.since, options.until)
    if not any(files_of(pattern, options.archive_folder) for pattern in folders):
        raise SourceUnreadable(
            f"{options.archive_folder} holds no file of the archive from {options.since} until"
            f" {options.until}: look at --archive_folder, --since and --until (they are times at"
            " which Pub/Sub took the messages)"
        )


def build(pipeline: beam.Pipeline, options: ReplayOptions) -> beam.PCollection:
    """Wires the pipeline and returns its end."""
    return (
        pipeline
        | "ReadArchive"
        >> ReadArchive(options.archive_folder, since=options.since, until=options.until)
        # Ordered, so that messages have the keys that they had; those without are not held up.
        | "WriteToPubSub" >> WriteToPubSub(options.output_topic, ordered=True)
        | "Fail" >> beam.Map(fail_refused)
    )


def figures(metrics: MetricResults) -> str:
    """Returns what was done, in a sentence."""

    def count(namespace: str, name: str) -> int:
        found = metrics.query(MetricsFilter().with_namespace(namespace).with_name(name))
        return sum(int(counter.result) for counter in found["counters"])

    return (
        f"{count('pubsub', 'published'):,} messages of {count('archive', 'files_read'):,} files"
        " published again"
    )


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from pipelines import replay

    sys.exit(
        main(
            replay.ReplayOptions,
            replay.build,
            replay.check,
            name="replay",
            about=replay.__doc__ or "",
            figures=replay.figures,
        )
    )
