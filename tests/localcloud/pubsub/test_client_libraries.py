"""Google's own client libraries work against the local Pub/Sub."""

import queue
from collections.abc import Iterator

import pytest
from google.api_core.client_options import ClientOptions
from google.cloud import pubsub_v1

from localcloud.pubsub import LocalPubSub

TOPIC = "projects/local/topics/telemetry"
SUBSCRIPTION = "projects/local/subscriptions/telemetry-all"


@pytest.fixture(name="endpoint")
def _endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with LocalPubSub() as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
        yield pubsub.endpoint


def test_published_messages_reach_a_streaming_subscriber_and_are_acknowledged(
    endpoint: str,
) -> None:
    publisher = pubsub_v1.PublisherClient()
    subscriber = pubsub_v1.SubscriberClient(client_options=ClientOptions(api_endpoint=endpoint))
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def take(message: pubsub_v1.subscriber.message.Message) -> None:
        received.put((message.data, message.attributes["deviceId"]))
        message.ack()

    pulling = subscriber.subscribe(SUBSCRIPTION, callback=take)
    futures = [publisher.publish(TOPIC, b"%d" % n, deviceId=f"d{n}") for n in range(200)]
    ids = {future.result(timeout=10) for future in futures}
    assert len(ids) == 200
    assert sorted(received.get(timeout=10) for _ in range(200)) == sorted(
        (b"%d" % n, f"d{n}") for n in range(200)
    )
    pulling.cancel()
    pulling.result(timeout=10)
    subscriber.close()
    publisher.stop()
