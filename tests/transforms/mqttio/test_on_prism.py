"""The MQTT transforms in somebody else's pipeline, on Prism."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows

from mqtt.client import BrokerAddress, ConnectionSettings, Message, Publisher, Subscriber
from mqtt.topics import TopicFilter
from tests.harness.brokers import Broker, start_own
from tests.harness.processes import Processes
from tests.harness.waiting import wait_until
from tests.transforms.prism import Collected, running
from transforms.mqttio import BrokerSettings, MqttMessage, PublishResult, ReadFromMqtt, WriteToMqtt
from transforms.secrets import SecretRef

# Beam's threads complain when Prism is stopped at the end.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

COUNTS = Collected("counts per window")
TEMPERATURES = Collected("temperatures")
RESULTS = Collected("results")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder: Path = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        yield start_own(processes, folder, devices=["d1", "d2"])


def settings(broker: Broker, user: str) -> BrokerSettings:
    file = broker.folder / f"{user}.secret"
    file.write_text(broker.passwords[user])
    return BrokerSettings(
        addresses=(BrokerAddress(broker.host, broker.port, False),),
        username=user,
        password=SecretRef(f"file:{file}"),
    )


def publish(broker: Broker, *messages: Message) -> None:
    """Publishes as the device d1, once somebody subscribes."""
    publisher = Publisher(settings(broker, "d1").connection("d1"))
    first, *rest = messages
    wait_until(
        lambda: publisher.publish([first], timeout_seconds=10) == [0],
        seconds=20,
        what="somebody subscribes",
    )
    publisher.publish(rest, timeout_seconds=10)
    publisher.close()


def device_of(message: MqttMessage) -> tuple[str, int]:
    return message.topic.split("/")[1], 1


def event_time(message: MqttMessage) -> float | None:
    return float(message.payload) if message.payload else None


class WithTime(beam.DoFn):
    """Elements with their timestamps, as seconds."""

    def process(
        self, element: MqttMessage, timestamp: object = beam.DoFn.TimestampParam
    ) -> Iterable[tuple[bytes, float]]:
        yield element.payload, float(timestamp)  # type: ignore[arg-type]  # Beam's placeholder


def test_several_filters_over_shards_with_windows_that_close_while_nothing_arrives(
    broker: Broker,
) -> None:
    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | ReadFromMqtt(
                broker=settings(broker, "telemetry"),
                client_id="telemetry-windows",
                topics=["devices/+/telemetry/+/windows", "devices/+/state"],
                shards=2,
            )
            | beam.Map(device_of)
            | beam.WindowInto(FixedWindows(1))
            | beam.CombinePerKey(sum)
            | beam.Map(COUNTS.add)
        )

    with running(build):
        publish(
            broker,
            *(
                Message(topic=f"devices/d1/{kind}", payload=b"%d" % number)
                for number in range(50)
                for kind in ("telemetry/a/windows", "telemetry/b/windows", "state")
            ),
        )
        # No message comes any more, and yet the last window closes.
        wait_until(
            lambda: sum(count for _, count in COUNTS.items) >= 150,
            seconds=20,
            what=lambda: f"150 messages in closed windows: {COUNTS.items}",
        )
    assert sum(count for _, count in COUNTS.items) == 150
    assert {device for device, _ in COUNTS.items} == {"d1"}


def test_event_times_are_the_payload_s_and_everything_is_acknowledged_at_the_end(
    broker: Broker,
) -> None:
    reader = settings(broker, "telemetry")

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | ReadFromMqtt(
                broker=reader,
                client_id="telemetry-times",
                topics=["devices/d1/telemetry/times"],
                event_time=event_time,
                event_time_lag_seconds=3_600,
            )
            | beam.ParDo(WithTime())
            | beam.Map(TEMPERATURES.add)
        )

    now = time.time()
    payloads = [b"%.3f" % (now - 60 - number) for number in range(20)]
    with running(build):
        publish(
            broker,
            *(Message(topic="devices/d1/telemetry/times", payload=item) for item in payloads),
        )
        wait_until(lambda: len(TEMPERATURES.items) >= 20, seconds=20, what="twenty messages")
    got = dict(TEMPERATURES.items)
    assert got == {item: pytest.approx(float(item), abs=0.001) for item in payloads}
    again = Subscriber(
        reader.connection("telemetry-times-0", session_expiry_seconds=600),
        [TopicFilter("devices/d1/telemetry/times")],
    )
    try:
        again.wait_ready(10)
        assert again.take(100, 0.3) is None
    finally:
        again.close()


def test_each_message_has_its_outcome(broker: Broker) -> None:
    listener = Subscriber(
        ConnectionSettings(
            addresses=(BrokerAddress(broker.host, broker.port, False),),
            client_id="d2",
            username="d2",
            password=broker.passwords["d2"].encode,
        ),
        [TopicFilter("devices/d2/commands/#")],
    )
    listener.wait_ready(10)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create(
                [
                    ("heard", Message(topic="devices/d2/commands/on", payload=b"1")),
                    ("unheard", Message(topic="devices/d1/commands/on", payload=b"1")),
                    ("forbidden", Message(topic="elsewhere", payload=b"1")),
                    ("wildcard", Message(topic="devices/+/commands", payload=b"1")),
                ],
                reshuffle=False,
            )
            | WriteToMqtt(broker=settings(broker, "commands"), client_id="commands")
            | beam.Map(RESULTS.add)
        )

    with running(build):
        wait_until(lambda: len(RESULTS.items) >= 4, seconds=20, what="four outcomes")
    assert dict(RESULTS.items) == {
        "heard": PublishResult("accepted", 0x00, ""),
        "unheard": PublishResult("no_subscriber", 0x10, "nobody subscribes to the topic"),
        "forbidden": PublishResult(
            "rejected", 0x87, "not authorized; the broker says: not allowed"
        ),
        "wildcard": PublishResult("rejected", 0x90, "topic name invalid"),
    }
    batch = listener.take(10, 5)
    listener.close()
    assert batch is not None
    assert [packet.topic for packet in batch.packets] == ["devices/d2/commands/on"]
