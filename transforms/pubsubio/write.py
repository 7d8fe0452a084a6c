"""``WriteToPubSub``: Pub/Sub messages to a topic, with attributes and ordering keys.

Guarantee
  At least once. A bundle ends when the service has accepted every message of it, or refused it
  for good; a bundle that is tried again publishes again.
Unit of parallelism
  A bundle; requests of up to 1,000 messages, four in flight.
Ordering
  None, but where ``ordered``: messages of one ordering key are published in the order in which
  the bundle holds them, one request at a time for a key.
Errors
  What Pub/Sub can never take (too large, bad attributes) comes out as :class:`Refused`, so that
  its neighbours arrive. A missing topic or right raises PubSubNotFound or PubSubDenied. A service
  that is away is waited for.
On Dataflow
  Beam's own WriteToPubSub is used, which Dataflow replaces by the service's sink, unless
  ``ordered``, since that sink drops ordering keys. What can't be taken is refused here all the
  same, before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import grpc
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.io.gcp.pubsub import WriteToPubSub as BeamWriteToPubSub
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.lists import MessageList, MessageListCoder
from transforms.pubsubio.channel import open_channel
from transforms.pubsubio.errors import PubSubInvalid
from transforms.pubsubio.limits import refusal
from transforms.pubsubio.publish import BatchPublisher
from transforms.pubsubio.wire import unframed
from transforms.shared import Shared

REFUSED = "refused"


class Refused(NamedTuple):
    """A message that Pub/Sub won't take, and why."""

    message: PubsubMessage
    reason: str


class FramedMessages(MessageList[bytes]):
    """Messages as ``transforms.pubsubio.wire.framed`` gives them, checked against the limits by
    who made them; they have no ordering keys.
    """


class WriteToPubSub(beam.PTransform):
    """Publishes; see the module for guarantee, parallelism, ordering and errors.

    Args:
      topic: ``projects/P/topics/T``.
      ordered: whether to publish with the messages' ordering keys.
      retry_seconds: how long an unavailable service is waited for before the bundle fails, and
        with it, on most runners, the pipeline.

    Input: PCollection of PubsubMessage in the global window, or of :class:`FramedMessages`.
    Output: PCollection of :class:`Refused`.
    """

    def __init__(self, topic: str, *, ordered: bool = False, retry_seconds: float = 600.0) -> None:
        super().__init__()
        if topic.count("/") != 3 or not topic.startswith("projects/") or "/topics/" not in topic:
            raise ValueError(f"topic {topic!r}: must be projects/PROJECT/topics/TOPIC")
        self._topic = topic
        self._ordered = ordered
        self._retry_seconds = retry_seconds

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Builds our sink, or on Dataflow the service's. Raises ValueError for windowed input."""
        if not isinstance(pcoll.windowing.windowfn, GlobalWindows):
            raise ValueError(
                "WriteToPubSub takes the global window: what it refuses belongs to no other;"
                " put beam.WindowInto(GlobalWindows()) before it"
            )
        runner = pcoll.pipeline.options.view_as(StandardOptions).runner or ""
        if "Dataflow" in runner and not self._ordered:
            checked = pcoll | "Check" >> beam.ParDo(_Check()).with_outputs(REFUSED, main="good")
            _ = checked.good | "Publish" >> BeamWriteToPubSub(self._topic, with_attributes=True)
            return checked[REFUSED]
        publish = _Publish(self._topic, self._ordered, self._retry_seconds)
        return pcoll | "Publish" >> beam.ParDo(publish).with_output_types(Refused)


def fail_refused(refused: Refused) -> None:
    """Ends the bundle for a message that nothing else would hold, such as a dead letter.

    Raises:
      PubSubInvalid: always; what the message came from is not acknowledged and comes again.
    """
    raise PubSubInvalid(f"Pub/Sub refused a message that has nowhere else to go: {refused.reason}")


class _Check(beam.DoFn):
    """Parts what the service's own sink would choke on."""

    def process(self, element: PubsubMessage | FramedMessages) -> Iterator[Any]:
        messages = map(unframed, element) if isinstance(element, FramedMessages) else (element,)
        for message in messages:
            reason = refusal(message.data or b"", message.attributes or {})
            if reason is None:
                yield message
            else:
                yield beam.pvalue.TaggedOutput(REFUSED, Refused(message, reason))


class _Publish(beam.DoFn):
    """Publishes a bundle."""

    def __init__(self, topic: str, ordered: bool, retry_seconds: float) -> None:
        self._topic = topic
        self._ordered = ordered
        self._retry_seconds = retry_seconds
        self._refused: list[Refused] = []
        self._published = Metrics.counter("pubsub", "published")
        self._retries = Metrics.counter("pubsub", "publish_retries")
        self._refusals = Metrics.counter("pubsub", "refused")
        self._latency = Metrics.distribution("pubsub", "publish_latency_ms")

    def setup(self) -> None:
        self._publisher = BatchPublisher(
            # DoFn instances come and go, connections needn't.
            _CHANNEL.get("", open_channel),
            self._topic,
            ordered=self._ordered,
            retry_seconds=self._retry_seconds,
            refused=lambda message, reason: self._refused.append(Refused(message, reason)),
        )

    def start_bundle(self) -> None:
        # A bundle that failed left things behind; its messages come again.
        self._publisher.forget()
        self._refused.clear()

    def process(self, element: PubsubMessage | FramedMessages) -> None:
        if isinstance(element, FramedMessages):
            self._publisher.add_framed(element)
        else:
            self._publisher.add(element)

    def finish_bundle(self) -> Iterable[WindowedValue]:
        publisher = self._publisher
        publisher.flush()
        self._published.inc(publisher.counters.pop("published", 0))
        self._retries.inc(publisher.counters.pop("retries", 0))
        for milliseconds in publisher.latencies_ms:
            self._latency.update(milliseconds)
        publisher.latencies_ms.clear()
        refused, self._refused = self._refused, []
        if refused:
            self._refusals.inc(len(refused))
        now = Timestamp.now()
        return [WindowedValue(item, now, [GlobalWindow()]) for item in refused]


beam.coders.registry.register_coder(FramedMessages, MessageListCoder)

_CHANNEL: Shared[str, grpc.Channel] = Shared(lambda channel, settle_seconds: channel.close())
