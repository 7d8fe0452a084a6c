"""At least once: the job asks for that mode, and what runs twice is known for the same again.

In it Dataflow may run a bundle again whose results it has already. Beam's FnApiRunner does so when
it is told to: everything here runs three times over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.pubsub_v1 import types

from localcloud.pubsub.embedded import LocalPubSub
from localcloud.subscriber import PubSub, topic_path
from mqtt.client import BrokerAddress
from mqtt.codec import ProtocolVersion
from schemas.layout import layout_named
from schemas.messages import Telemetry
from templates import promises
from templates.catalog import TEMPLATES, Template
from templates.graph import steps_of
from templates.job import Job, translate
from tests.harness.brokers import Broker, start_own
from tests.harness.processes import Processes
from tests.transforms.prism import Collected
from transforms.archive import ArchiveSettings
from transforms.archive.grouped import ArchiveBatches
from transforms.commands import OUTCOMES, FrameOutcomes, ParseCommands
from transforms.decode import DecodeTelemetry
from transforms.lists import MessageList
from transforms.mqttio import BrokerSettings, MqttMessage, WriteToMqtt
from transforms.pubsubio import FramedMessages, WriteToPubSub
from transforms.secrets import SecretRef
from transforms.shared import close_shared
from transforms.telemetry import REJECTED, TelemetryToPubSub

TIMES = 3
DEVICES = [f"d{number}" for number in range(20)]
LAYOUT = layout_named("default")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROWS = Collected("rows of repeated bundles")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_job_asks_for_its_mode_and_is_the_same_in_both(
    job_of: Callable[[str, str], Job], template: Template
) -> None:
    job = job_of(template.name, "default")
    assert job.description["environment"]["serviceOptions"] == ["streaming_mode_at_least_once"]
    other = translate(
        template, promises.examples(template), image=promises.IMAGE, exactly_once=True
    )
    assert other.description["environment"]["serviceOptions"] == ["streaming_mode_exactly_once"]
    assert steps_of(other) == steps_of(job)


def repeat(build: Callable[[beam.Pipeline], object]) -> None:
    """Runs a pipeline, each of its bundles so many times."""
    runner = FnApiRunner(bundle_repeat=TIMES - 1)
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([]))
    build(pipeline)
    pipeline.run().wait_until_finish()


@pytest.fixture
def results(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[int], list[types.PubsubMessage]]]:
    """A topic, `results`, and what was published to it so far, so many messages."""
    with LocalPubSub() as service, PubSub(service.endpoint) as client:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", service.endpoint)
        client.create_topic("results")
        client.create_subscription("results", topic="results")

        def received(count: int) -> list[types.PubsubMessage]:
            got: list[types.PubsubMessage] = []
            for batch in client.stream("results", timeout_seconds=10):
                got += batch
                if len(got) >= count:
                    break
            return got

        yield received
        close_shared(settle_seconds=0.0)


def payload_of(device: str) -> bytes:
    return b'{"timestamp": "2026-01-31T12:00:00Z", "value": "%s"}' % device.encode()


def pubsub_message(device: str) -> PubsubMessage:
    payload = payload_of(device)
    telemetry = Telemetry.from_mqtt(
        f"devices/{device}/telemetry", payload, received_time=NOON.timestamp(), user_properties=()
    )
    return PubsubMessage(payload, telemetry.attributes(), f"id-{device}", NOON)


def test_telemetry_that_is_published_again_is_the_same_to_the_last_attribute(
    results: Callable[[int], list[types.PubsubMessage]],
) -> None:
    messages = MessageList(
        MqttMessage(f"devices/{each}/telemetry", payload_of(each), 1, False, False, 1.7e9)
        for each in DEVICES
    )

    def build(pipeline: beam.Pipeline) -> None:
        telemetry = (
            pipeline
            | beam.Create([messages], reshuffle=False)
            | beam.ParDo(TelemetryToPubSub(LAYOUT)).with_outputs(REJECTED, main="telemetry")
        )
        _ = telemetry.telemetry | WriteToPubSub(topic_path("results"))

    repeat(build)
    copies = Counter(
        (message.data, tuple(sorted(message.attributes.items())))
        for message in results(TIMES * len(DEVICES))
    )
    assert set(copies.values()) == {TIMES}
    assert len({dict(attributes)["messageId"] for _, attributes in copies}) == len(DEVICES)


def test_rows_that_are_appended_again_are_copies_that_can_be_told() -> None:
    ROWS.items.clear()

    def build(pipeline: beam.Pipeline) -> None:
        decoded = (
            pipeline
            | beam.Create([pubsub_message(each) for each in DEVICES], reshuffle=False)
            | DecodeTelemetry(origin="sub")
        )
        _ = decoded.rows | beam.Map(lambda row: ROWS.add(dict(row.values)))

    repeat(build)
    for row in ROWS.items:
        row.pop("processed_time")
    copies = Counter(tuple(sorted((name, repr(row[name])) for name in row)) for row in ROWS.items)
    assert set(copies.values()) == {TIMES}
    assert len({row["message_id"] for row in ROWS.items}) == len(DEVICES)
    assert all(row["deduplicable"] for row in ROWS.items)


def test_a_batch_that_is_archived_again_is_the_same_file(tmp_path: Path) -> None:
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=600, shards=2)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create([MessageList(map(pubsub_message, DEVICES))], reshuffle=False)
            | ArchiveBatches(settings, origin="sub", default_schema_id=None)
        )

    repeat(build)
    devices = []
    for file in tmp_path.rglob("*.avro"):
        with file.open("rb") as content:
            records: Any = fastavro.reader(content)  # typed as any Avro; these are records
            devices += [record["device_id"] for record in records]
    assert sorted(devices) == sorted(DEVICES)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        yield start_own(processes, folder, devices=DEVICES)


def test_a_command_that_is_sent_again_ends_in_the_same_outcome(
    broker: Broker, results: Callable[[int], list[types.PubsubMessage]]
) -> None:
    password = broker.folder / "commands.secret"
    password.write_text(broker.passwords["commands"])
    settings = BrokerSettings(
        addresses=(BrokerAddress(broker.host, broker.port, False),),
        username="commands",
        password=SecretRef(f"file:{password}"),
    )
    commands = MessageList(
        PubsubMessage(b"{}", {"deviceId": each, "commandId": f"c-{each}"}) for each in DEVICES
    )

    def build(pipeline: beam.Pipeline) -> None:
        parsed = (
            pipeline
            | beam.Create([commands], reshuffle=False)
            | beam.ParDo(ParseCommands(LAYOUT, protocol=ProtocolVersion.V5)).with_outputs(
                OUTCOMES, main="commands"
            )
        )
        _ = (
            parsed.commands
            | WriteToMqtt(broker=settings, client_id="commands-repeat", lists=True)
            | beam.ParDo(FrameOutcomes()).with_output_types(FramedMessages)
            | WriteToPubSub(topic_path("results"))
        )

    repeat(build)
    copies = Counter(
        (message.attributes["commandId"], message.attributes["outcome"])
        for message in results(TIMES * len(DEVICES))
    )
    assert copies == {(f"c-{each}", "no_subscriber"): TIMES for each in DEVICES}
