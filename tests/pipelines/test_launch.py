"""Launching, stopping and dying, with real processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.worker.statesampler import StateSampler
from apache_beam.utils.counters import CounterFactory
from google.pubsub_v1 import types

from localcloud.subscriber import PubSub, topic_path
from mqtt.client import BrokerAddress, ConnectionSettings, Message, Publisher, Subscriber
from mqtt.topics import TopicFilter
from pipelines import telemetry
from pipelines.launch import main
from pipelines.prism import cached_path
from pipelines.worker_pool import LoopbackWorkerPool
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud
from tests.harness.processes import Process
from tests.harness.waiting import wait_until

needs_prism = pytest.mark.skipif(
    not cached_path().is_file(),
    reason="Beam's Prism is not there: `python -m localcloud.prism` fetches it",
)


def settings(broker: Broker, user: str, client_id: str) -> ConnectionSettings:
    return ConnectionSettings(
        addresses=(BrokerAddress(broker.host, broker.port, False),),
        client_id=client_id,
        username=user,
        password=broker.passwords[user].encode,
        session_expiry_seconds=600,
    )


def publish(broker: Broker, *payloads: bytes) -> None:
    """Publishes as the device d1, once somebody subscribes."""
    publisher = Publisher(settings(broker, "d1", "d1"))
    first, *rest = (Message(topic="devices/d1/telemetry", payload=item) for item in payloads)
    wait_until(
        lambda: publisher.publish([first], timeout_seconds=10) == [0],
        seconds=20,
        what="somebody subscribes",
    )
    assert publisher.publish(rest, timeout_seconds=10) == [0] * len(rest)
    publisher.close()


def arrived(cloud: Cloud, count: int) -> list[bytes]:
    """Waits for so many different messages in the warehouse's subscription."""
    got: set[bytes] = set()
    with PubSub(cloud.pubsub) as client:
        for messages in client.stream(cloud.warehouse_subscription, timeout_seconds=30):
            got |= {item.data for item in messages}
            if len(got) >= count:
                break
    return sorted(got)


def said(process: Process) -> str:
    text = process.said()
    assert "Traceback" not in text, text
    return text


@needs_prism
def test_sigterm_finishes_what_was_read_and_acknowledges_it(
    cloud: Cloud, own_broker: Broker
) -> None:
    pipeline = cloud.start_telemetry(own_broker)
    (prism,) = pipeline.descendants("prism")
    payloads = [b"%d" % number for number in range(500)]
    publish(own_broker, *payloads)
    assert arrived(cloud, 500) == sorted(payloads)
    pipeline.popen.send_signal(signal.SIGTERM)
    assert pipeline.wait_for_end(seconds=20) == 0
    assert "telemetry: stopping; what was read is finished first" in said(pipeline)
    assert not prism.is_running()
    # The session that it left at the broker holds nothing more.
    again = Subscriber(
        settings(own_broker, "telemetry", "telemetry-0"), [TopicFilter("devices/+/telemetry/#")]
    )
    try:
        again.wait_ready(10)
        publish(own_broker, b"later")
        batch = again.take(1_000, 10)
        assert batch is not None
        assert [packet.payload for packet in batch.packets] == [b"later"]
    finally:
        again.close()


@needs_prism
def test_a_killed_prism_ends_the_pipeline_with_one_sentence(
    cloud: Cloud, own_broker: Broker
) -> None:
    pipeline = cloud.start_telemetry(own_broker)
    before = pipeline.said()
    (prism,) = pipeline.descendants("prism")
    prism.kill()
    assert pipeline.wait_for_end(seconds=10) == 1
    lines = said(pipeline).removeprefix(before).strip().splitlines()
    assert len(lines) == 1, lines
    assert "Prism was killed by signal 9" in lines[0]
    assert "start it again" in lines[0]


@needs_prism
def test_prism_dies_with_a_killed_pipeline(cloud: Cloud, own_broker: Broker) -> None:
    pipeline = cloud.start_telemetry(own_broker)
    (prism,) = pipeline.descendants("prism")
    pipeline.kill()

    def gone() -> bool:
        return not prism.is_running() or prism.status() == psutil.STATUS_ZOMBIE

    wait_until(gone, seconds=5, what="the end of Prism")


@needs_prism
def test_a_topic_that_is_deleted_under_way_ends_the_pipeline_with_one_sentence(
    cloud: Cloud, own_broker: Broker
) -> None:
    pipeline = cloud.start_telemetry(own_broker)
    delete_topic(cloud, cloud.telemetry_topic)
    publish(own_broker, b"one")
    assert pipeline.wait_for_end(seconds=30) == 1
    running, sentence = said(pipeline).splitlines()
    assert running == "telemetry: running"
    assert f"{topic_path(cloud.telemetry_topic)} does not exist; create it with" in sentence


def delete_topic(cloud: Cloud, topic: str) -> None:
    with grpc.insecure_channel(cloud.pubsub) as channel:
        channel.unary_unary(
            "/google.pubsub.v1.Publisher/DeleteTopic",
            request_serializer=types.DeleteTopicRequest.pb().SerializeToString,
            response_deserializer=bytes,
        )(types.DeleteTopicRequest.pb()(topic=topic_path(topic)), timeout=10)


# No runner is started for these; what else is wrong at the start is in tests/end_to_end.

Launch = Callable[..., str]


@pytest.fixture
def launch(
    cloud: Cloud,
    own_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Launch:
    """Runs the telemetry pipeline, which must not start, and returns what it says."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", cloud.pubsub)

    def run(*changes: str, status: int = 1) -> str:
        options = {
            "broker": f"mqtt://{own_broker.address}",
            "client_id": "telemetry",
            "output_topic": topic_path(cloud.telemetry_topic),
            "dead_letter_topic": topic_path(cloud.dead_letter_topic),
            "start_timeout_seconds": "1",
            **dict(item.removeprefix("--").split("=") for item in own_broker.login("telemetry")),
            **dict(item.split("=", 1) for item in changes),
        }
        argv = [f"--{name}={value}" for name, value in options.items()]
        got = main(
            telemetry.TelemetryOptions,
            telemetry.build,
            telemetry.check,
            name="telemetry",
            about="",
            argv=argv,
        )
        assert got == status
        return capsys.readouterr().err

    return run


def test_a_password_that_is_not_there(launch: Launch, tmp_path: Path) -> None:
    words = launch(f"password=file:{tmp_path}/missing")
    assert f"secret file:{tmp_path}/missing: No such file" in words


def test_no_google_credentials(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    assert "gcloud auth application-default login" in launch()


def test_a_runner_that_nobody_knows(launch: Launch) -> None:
    assert "no runner 'Sidewalk'" in launch("runner=Sidewalk", status=2)


def test_an_interrupt_before_it_runs(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(telemetry, "check", interrupted)
    assert "interrupted before it ran" in launch(status=130)


def test_a_bundle_that_took_long_ends_at_once() -> None:
    """Beam's sampler of states is waited for when a bundle ends, and sleeps ever longer."""
    pool = LoopbackWorkerPool(PipelineOptions([]))
    try:
        sampler = StateSampler("stage", CounterFactory())
        sampler.start()
        time.sleep(0.6)  # by now Beam's own setting sleeps 100 ms at a time
        begin = time.monotonic()
        sampler.stop()
        assert time.monotonic() - begin < 0.03
    finally:
        pool.stop()
