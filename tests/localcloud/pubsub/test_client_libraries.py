"""Google's own client libraries work, pointed here by environment or by channel."""

import queue
from collections.abc import Iterator

import google.cloud.pubsub_v1 as pubsub_v1
import grpc
import pytest
from google.cloud.pubsub_v1.subscriber.message import Message
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from localcloud.pubsub import LocalPubSub

TOPIC = "projects/local/topics/telemetry"
SUBSCRIPTION = "projects/local/subscriptions/telemetry-all"
PATIENCE_SECONDS = 10


@pytest.fixture(name="endpoint")
def _endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with LocalPubSub() as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
        yield pubsub.endpoint


def test_published_messages_reach_a_streaming_subscriber(endpoint: str) -> None:
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def take(message: Message) -> None:
        received.put((message.data, message.attributes["deviceId"]))
        message.ack()

    pulling = subscriber.subscribe(SUBSCRIPTION, callback=take)
    futures = [publisher.publish(TOPIC, b"%d" % n, deviceId=f"d{n}") for n in range(200)]
    assert len({future.result(timeout=PATIENCE_SECONDS) for future in futures}) == 200
    assert sorted(received.get(timeout=PATIENCE_SECONDS) for _ in range(200)) == sorted(
        (b"%d" % n, f"d{n}") for n in range(200)
    )
    pulling.cancel()
    pulling.result(timeout=PATIENCE_SECONDS)
    subscriber.close()
    publisher.stop()


def test_ordering_keys_and_nacks_work_together(endpoint: str) -> None:
    publisher = pubsub_v1.PublisherClient(
        publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    )
    subscriber = pubsub_v1.SubscriberClient()
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(
        request={"name": SUBSCRIPTION, "topic": TOPIC, "enable_message_ordering": True}
    )
    handled: queue.Queue[int] = queue.Queue()
    refused: set[int] = set()

    def take(message: Message) -> None:
        number = int(message.data)
        if number % 7 == 3 and number not in refused:
            refused.add(number)
            message.nack()
            return
        handled.put(number)
        message.ack()

    for number in range(40):
        publisher.publish(TOPIC, b"%d" % number, ordering_key="device")
    pulling = subscriber.subscribe(SUBSCRIPTION, callback=take)
    # After a nack the library handles the next message of the key at once, but the server replays
    # all from the nacked one on: in the order of their last handling nothing is out of place.
    last_handled: dict[int, None] = {}
    while list(last_handled) != list(range(40)):
        number = handled.get(timeout=PATIENCE_SECONDS)
        last_handled.pop(number, None)
        last_handled[number] = None
    assert refused == set(range(3, 40, 7))
    pulling.cancel()
    pulling.result(timeout=PATIENCE_SECONDS)
    subscriber.close()
    publisher.stop()


def test_an_explicit_endpoint_with_an_insecure_channel_works(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    with grpc.insecure_channel(endpoint) as channel:
        publisher = pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        message_id = publisher.publish(TOPIC, b"one").result(timeout=PATIENCE_SECONDS)
        pulled = subscriber.pull(subscription=SUBSCRIPTION, max_messages=5)
        assert [each.message.message_id for each in pulled.received_messages] == [message_id]
        publisher.stop()
