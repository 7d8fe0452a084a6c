"""A pipeline with windows between its read and its sink: ``python -m tests.harness.windowed``.

Not one of ours, which write in the read's own stage: it has what it has read in the runner's state
for seconds. Its sink appends lines of numbers to a file and takes its time with a window's. So do
checkpoints then: they come to it behind what waits for it, while the read goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows

from pipelines.flink import prepare
from transforms.pubsubio import ReadFromPubSub

_KEYS = 16
_WINDOW_SECONDS = 3
_LATENESS_SECONDS = 3_600
_SINK_SECONDS = 0.1


def keyed(message: PubsubMessage) -> tuple[int, int]:
    number = int(message.data)
    return number % _KEYS, number


class AppendNumbers(beam.DoFn):
    """Appends each group to a file, in one write."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: tuple[int, Iterable[int]]) -> None:
        numbers = list(element[1])
        # What comes late comes one by one.
        if len(numbers) > 1:
            time.sleep(_SINK_SECONDS)
        with Path(self._path).open("a") as file:
            file.write("".join(f"{number}\n" for number in numbers))


def main(subscription: str, path: str, *flags: str) -> None:
    options = PipelineOptions(list(flags))
    options.view_as(StandardOptions).streaming = True
    prepare(options, shards=1)
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        | ReadFromPubSub(subscription)
        | "Key" >> beam.Map(keyed).with_output_types(tuple[int, int])
        | beam.WindowInto(
            FixedWindows(_WINDOW_SECONDS),
            trigger=AfterWatermark(late=AfterCount(1)),
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=_LATENESS_SECONDS,
        )
        | beam.GroupByKey()
        | "Append" >> beam.ParDo(AppendNumbers(path))
    )
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from tests.harness import windowed

    windowed.main(*sys.argv[1:])
