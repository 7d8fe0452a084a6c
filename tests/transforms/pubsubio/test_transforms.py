"""The transforms in a pipeline: on Prism, and as Dataflow would get them."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.io.gcp.pubsub import ReadFromPubSub as BeamReadFromPubSub
from apache_beam.io.gcp.pubsub import WriteToPubSub as BeamWriteToPubSub
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows

from localcloud.subscriber import PubSub
from tests.harness.waiting import wait_until
from tests.transforms.prism import Collected, running
from tests.transforms.pubsubio.conftest import Place
from transforms.pubsubio import ReadFromPubSub, WriteToPubSub

TOPIC = "projects/some-project/topics/topic"
SUBSCRIPTION = "projects/some-project/subscriptions/sub"
REFUSED = Collected("refused")


def upper(message: PubsubMessage) -> PubsubMessage:
    attributes = {**message.attributes, "too": "x" * (2_000 if message.data == b"bad" else 1)}
    return PubsubMessage(message.data.upper(), attributes)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_messages_go_from_a_subscription_to_a_topic_and_what_cant_comes_out(place: Place) -> None:
    name = place.topic.rpartition("/")[2]
    inbound = place.subscription.rpartition("/")[2] + "-in"

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | ReadFromPubSub(f"{place.subscription}-in")
            | beam.Map(upper)
            | WriteToPubSub(place.topic)
            | beam.Map(REFUSED.add)
        )

    with PubSub(place.service.endpoint) as client:
        client.create_topic(f"{name}-in")
        client.create_subscription(inbound, topic=f"{name}-in")
        with running(build):
            for data in (b"one", b"bad", b"two"):
                client.publish(f"{name}-in", data, {"k": data.decode()})
            got = {(item.data, item.attributes["k"]) for item in place.received(2)}
            assert got == {(b"ONE", "one"), (b"TWO", "two")}
            wait_until(lambda: REFUSED.items, seconds=10, what="the refused message")
    (refused,) = REFUSED.items
    assert refused.message.data == b"BAD"
    assert "attribute 'too' has 2,000 bytes" in refused.reason


def parts(*steps: Any) -> set[type]:
    """The transforms that a pipeline of these steps consists of where the job is for Dataflow."""
    options = PipelineOptions(["--runner=DataflowRunner", "--streaming"])
    # Built with another runner's class: Dataflow's asks for a project and a bucket.
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    result: Any = pipeline
    for step in steps:
        result = result | step
    left, found = [pipeline._root_transform()], set()
    while left:
        applied = left.pop()
        left += applied.parts
        found.add(type(applied.transform))
    return found


def messages() -> beam.Create:
    return beam.Create([PubsubMessage(b"x", {})])


def test_on_dataflow_the_service_reads_itself() -> None:
    assert BeamReadFromPubSub in parts(ReadFromPubSub(SUBSCRIPTION))


def test_on_dataflow_nothing_is_acknowledged_by_hand() -> None:
    with pytest.raises(ValueError, match="acknowledges when it finalizes"):
        parts(ReadFromPubSub(SUBSCRIPTION, held=True))


def test_on_dataflow_the_service_writes_itself() -> None:
    assert BeamWriteToPubSub in parts(messages(), WriteToPubSub(TOPIC))


def test_on_dataflow_ordering_keys_are_published_by_our_own_sink() -> None:
    assert BeamWriteToPubSub not in parts(messages(), WriteToPubSub(TOPIC, ordered=True))


def test_windowed_messages_are_refused() -> None:
    pipeline = beam.Pipeline()
    with pytest.raises(ValueError, match="takes the global window"):
        _ = pipeline | messages() | beam.WindowInto(FixedWindows(1)) | WriteToPubSub(TOPIC)


@pytest.mark.parametrize("topic", ["topic", "projects/p/subscriptions/s", "projects/p/topics/t/x"])
def test_what_is_no_topic_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="must be projects/PROJECT/topics/TOPIC"):
        WriteToPubSub(topic)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subscription": "sub"}, "must be projects/PROJECT/subscriptions/SUBSCRIPTION"),
        ({"lease_seconds": 9}, "lease_seconds: must be 10 to 600"),
        ({"held": True, "spare": True}, "held and spare: one of them"),
        ({"most_messages": 0}, "most_messages and most_bytes: must be 1 or more"),
    ],
)
def test_a_read_that_cant_work_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReadFromPubSub(**{"subscription": SUBSCRIPTION, **changes})
