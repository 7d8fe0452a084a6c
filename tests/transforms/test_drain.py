"""A drain: what was read is finished and acknowledged, what was not stays where it was. And an
update in place: what one job left is read on by the next.

A draining runner checkpoints the bundle that reads, and asks the source's restriction provider to
truncate what is left. Beam's FnApiRunner can be told to drain; Prism 2.77 can't. What Dataflow does
to a bundle in its middle is done here with Beam's own tracker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState

from localcloud.pubsub.embedded import LocalPubSub
from localcloud.subscriber import PubSub, subscription_path
from mqtt.client import BrokerAddress, Message, Publisher, Subscriber
from mqtt.topics import TopicFilter
from tests.harness.brokers import Broker, start_own
from tests.harness.processes import Processes
from tests.harness.waiting import wait_until
from tests.transforms.bundles import RELEASED, Bundle
from tests.transforms.prism import Collected
from transforms.inbox import ReadInbox
from transforms.mqttio import BrokerSettings, ReadFromMqtt
from transforms.mqttio.source import MqttShard
from transforms.mqttio.subscriptions import SubscriptionSettings, register, subscription
from transforms.pubsubio import ReadFromPubSub
from transforms.pubsubio import read as pubsub_read
from transforms.secrets import SecretRef
from transforms.shared import close_shared
from transforms.stop import request_stop, reset_stop

TOPIC = "devices/d1/telemetry"
WAITING = 20
READ = Collected("read while draining")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    reset_stop()
    READ.items.clear()
    yield
    close_shared(settle_seconds=0.0)
    reset_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder: Path = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        yield start_own(processes, folder, devices=["d1"])


@pytest.fixture(scope="module")
def pubsub() -> Iterator[LocalPubSub]:
    with LocalPubSub() as service, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PUBSUB_EMULATOR_HOST", service.endpoint)
        yield service


def settings(broker: Broker, user: str) -> BrokerSettings:
    file = broker.folder / f"{user}.secret"
    file.write_text(broker.passwords[user])
    return BrokerSettings(
        addresses=(BrokerAddress(broker.host, broker.port, False),),
        username=user,
        password=SecretRef(f"file:{file}"),
    )


def waiting(broker: Broker, client_id: str, shard: int = 0) -> list[bytes]:
    """What the session of a shard holds; nothing is acknowledged."""
    connection = settings(broker, "telemetry").connection(
        f"{client_id}-{shard}", session_expiry_seconds=600
    )
    subscriber = Subscriber(connection, [TopicFilter(TOPIC)])
    payloads: list[bytes] = []
    try:
        subscriber.wait_ready(10)
        while (batch := subscriber.take(100, 0.3)) is not None:
            payloads += [packet.payload for packet in batch.packets]
    finally:
        subscriber.close()
    return payloads


def leave(broker: Broker, client_id: str, shard: int = 0) -> list[bytes]:
    """Leaves messages in the session of a shard, and returns them."""
    assert waiting(broker, client_id, shard) == []
    payloads = [b"%d" % number for number in range(WAITING)]
    publisher = Publisher(settings(broker, "d1").connection("d1"))
    codes = publisher.publish(
        [Message(topic=TOPIC, payload=each) for each in payloads], timeout_seconds=10
    )
    publisher.close()
    assert codes == [0] * WAITING
    return payloads


def wait_for_mqtt(client_id: str, count: int, shard: int = 0) -> None:
    """Waits until so many messages of a shard are here to be read."""
    _, subscriber = subscription(client_id, shard)
    wait_until(lambda: subscriber._queued == count, seconds=30, what=f"{count} messages")


def drained(build: beam.PTransform) -> None:
    """Runs a read as a runner that drains does; it must end by itself, with nothing read."""
    pipeline = beam.Pipeline(
        runner=FnApiRunner(is_drain=True), options=PipelineOptions(["--streaming"])
    )
    _ = pipeline | build | beam.Map(READ.add)
    ended: list[Any] = []
    running = threading.Thread(target=lambda: ended.append(pipeline.run().wait_until_finish()))
    running.start()
    running.join(60)
    by_itself = list(ended)
    request_stop()
    running.join(60)
    assert by_itself == [PipelineState.DONE]
    assert READ.items == []


def test_a_drained_mqtt_read_ends_and_its_session_keeps_what_waits(broker: Broker) -> None:
    payloads = leave(broker, "telemetry-drain")
    drained(
        ReadFromMqtt(
            broker=settings(broker, "telemetry"), client_id="telemetry-drain", topics=[TOPIC]
        )
    )
    assert waiting(broker, "telemetry-drain") == payloads


def test_a_bundle_that_is_drained_acknowledges_what_it_read_and_nothing_else(
    broker: Broker,
) -> None:
    payloads = leave(broker, "telemetry-middle")
    five = SubscriptionSettings(
        broker=settings(broker, "telemetry"),
        client_id="telemetry-middle",
        filters=(TopicFilter(TOPIC),),
        batch_messages=5,
    )
    bundle = Bundle(ReadInbox(register, five), MqttShard("telemetry-middle", shard=0))
    wait_for_mqtt("telemetry-middle", WAITING)
    read = [message.payload for message in bundle.first()]
    assert read == payloads[: len(read)]
    assert len(read) < len(payloads)
    bundle.drain()
    bundle.commit()
    close_shared(settle_seconds=2.0)
    assert waiting(broker, "telemetry-middle") == payloads[len(read) :]


def test_what_a_job_left_is_read_on_under_the_settings_of_its_update(broker: Broker) -> None:
    payloads = leave(broker, "telemetry-update")

    def read(most: int, rest: bytes | None) -> tuple[list[bytes], bytes]:
        new = SubscriptionSettings(
            broker=settings(broker, "telemetry"),
            client_id="telemetry-update",
            filters=(TopicFilter(TOPIC),),
            batch_messages=most,
        )
        source = MqttShard("telemetry-update", shard=0)
        bundle = Bundle(ReadInbox(register, new), source, rest=rest)
        wait_for_mqtt("telemetry-update", WAITING if rest is None else WAITING - 5)
        payloads = [message.payload for message in bundle.first()]
        rest = bundle.checkpoint()
        bundle.commit()
        # The workers of the old job end, and with them the connection.
        close_shared(settle_seconds=2.0)
        return payloads, rest

    before, rest = read(5, None)
    after, _ = read(WAITING, rest)
    assert len(before) == 5
    assert before + after + waiting(broker, "telemetry-update") == payloads
    assert len(after) > 5, "the limit of five went with the source"


def test_what_the_first_release_left_is_read_on(broker: Broker) -> None:
    payloads = leave(broker, "telemetry-eu", shard=3)
    four = SubscriptionSettings(
        broker=settings(broker, "telemetry"),
        client_id="telemetry-eu",
        filters=(TopicFilter(TOPIC),),
        shards=4,
        shared=True,
    )
    source = MqttShard("telemetry-eu", shards=4)
    bundle = Bundle(ReadInbox(register, four), source, rest=RELEASED["mqtt"])
    wait_for_mqtt("telemetry-eu", WAITING, shard=3)
    assert [message.payload for message in bundle.first()] == payloads
    bundle.drain()
    bundle.commit()


def test_a_drained_pubsub_read_ends_and_its_subscription_keeps_what_waits(
    pubsub: LocalPubSub,
) -> None:
    with PubSub(pubsub.endpoint) as client:
        client.create_topic("topic-drain")
        client.create_subscription("sub-drain", topic="topic-drain")
        for number in range(WAITING):
            client.publish("topic-drain", b"%d" % number, {})
        drained(ReadFromPubSub(subscription_path("sub-drain")))
        assert received(client, "sub-drain", WAITING) == {b"%d" % each for each in range(WAITING)}


def test_a_pubsub_bundle_that_is_drained_acknowledges_what_it_read_and_nothing_else(
    pubsub: LocalPubSub,
) -> None:
    path = subscription_path("sub-middle")
    with PubSub(pubsub.endpoint) as client:
        client.create_topic("topic-middle")
        client.create_subscription("sub-middle", topic="topic-middle")
        client.publish("topic-middle", b"read", {})
        read = ReadFromPubSub(path)
        bundle = Bundle(
            ReadInbox(pubsub_read._register, read._settings),
            pubsub_read.PubSubSubscription(path),
        )
        puller = pubsub_read._puller(path)
        wait_until(lambda: puller.oldest_time is not None, seconds=30, what="a message")
        assert [message.data for message in bundle.first()] == [b"read"]
        client.publish("topic-middle", b"left", {})
        bundle.drain()
        assert puller.drain_counters()[0]["acked"] == 0
        bundle.commit()
        close_shared(settle_seconds=2.0)
        assert puller.drain_counters()[0]["acked"] == 1
        assert received(client, "sub-middle", 1) == {b"left"}


def received(client: PubSub, subscription: str, count: int) -> set[bytes]:
    """What a subscription gives until it has given so many."""
    got: set[bytes] = set()
    for batch in client.stream(subscription, timeout_seconds=15):
        got |= {message.data for message in batch}
        if len(got) >= count:
            break
    return got
