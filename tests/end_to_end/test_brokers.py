"""Telemetry up and commands down, on our broker and on those of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from localcloud.subscriber import PubSub
from schemas.messages import Outcome
from tests.harness.brokers import Broker, start_amqtt, start_mosquitto
from tests.harness.cloud import Cloud
from tests.harness.devices import V5, V311, Device, wait_until_subscribed
from tests.harness.fixtures import own_with_devices
from tests.harness.processes import Processes
from tests.harness.round_trip import outcome_of, up_and_down
from tests.harness.taps import Tap, command_id, message_id, publish_all
from tests.harness.waiting import wait_until

StartBroker = Callable[[Processes, Path], Broker]


def reading(number: int) -> bytes:
    return json.dumps({"message_id": f"m{number}", "readings": {"temperature": number}}).encode()


def test_readings_become_rows_and_commands_become_outcomes(
    warehouse_cloud: Cloud, own_broker: Broker
) -> None:
    cloud = warehouse_cloud
    pipelines = [
        cloud.start_warehouse(wait=False),
        cloud.start_telemetry(own_broker, wait=False),
        cloud.start_commands(own_broker, wait=False),
    ]
    with (
        PubSub(cloud.pubsub) as client,
        Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id) as tap,
        Tap(cloud.pubsub, cloud.results_topic, key=command_id) as results,
        Device(own_broker, "d1", subscribe=["devices/d1/commands/#"]) as d1,
        Device(own_broker, "d2") as d2,
    ):
        for pipeline in pipelines:
            pipeline.wait_for(r"^\w+: running$")
        wait_until_subscribed(d1, tap)  # no JSON: it becomes no row
        before = datetime.now(UTC) - timedelta(seconds=1)
        for device in (d1, d2):
            numbers = [
                device.publish(
                    reading(number),
                    message_id=f"{device.device_id}-{number}",
                    properties=[("schema-id", "reading.v1")],
                )
                for number in range(100)
            ]
            device.wait_until_acknowledged(numbers)
        wait_until(
            lambda: cloud.rows() >= 200, seconds=30, what=lambda: f"200 rows, not {cloud.rows()}"
        )
        rows = cloud.query(
            "SELECT message_id, message_id_from, deduplicable, device_id, stream, topic, schema_id,"
            " content_type, event_time, received_time, published_time, processed_time, payload"
            " FROM {dataset}.telemetry"
        )
        assert {row[0] for row in rows} == {f"d{d}-{n}" for d in (1, 2) for n in range(100)}
        row = next(row for row in rows if row[0] == "d2-7")
        assert row[1:8] == (
            "device",
            True,
            "d2",
            "env",
            "devices/d2/telemetry/env",
            "reading.v1",
            "application/json",
        )
        event, received, published, processed = row[8:12]
        assert before < event < published < processed < datetime.now(UTC) + timedelta(seconds=1)
        assert before < received <= processed
        assert row[12]["readings"] == {"temperature": 7}

        publish_all(
            client,
            cloud.commands_topic,
            [
                (b'{"on": true}', {"deviceId": "d1", "commandName": "light", "commandId": "c-1"}),
                (b"", {"deviceId": "d3", "commandId": "c-2"}),
            ],
        )
        accepted = outcome_of(results, "c-1")
        assert (accepted.outcome, accepted.device_id) == (Outcome.ACCEPTED, "d1")
        assert outcome_of(results, "c-2").outcome is Outcome.NO_SUBSCRIBER
        wait_until(lambda: d1.messages, seconds=10, what="the command at the device")
        (command,) = d1.messages
        assert command.topic == "devices/d1/commands/light"
        assert command.payload == b'{"on": true}'
        properties: Any = command.properties
        assert properties.UserProperty == [("command-id", "c-1")]
        assert properties.ResponseTopic == "devices/d1/responses/c-1"


@pytest.mark.parametrize("protocol", [V311, V5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("start", [own_with_devices, start_mosquitto], ids=["own", "mosquitto"])
def test_messages_go_up_and_commands_down_in_both_versions(
    cloud: Cloud,
    processes: Processes,
    tmp_path: Path,
    start: StartBroker,
    protocol: MQTTProtocolVersion,
) -> None:
    broker = start(processes, tmp_path)
    option = f"--protocol={'5' if protocol is V5 else '3.1.1'}"
    up_and_down(cloud, broker, option, protocol=protocol, count=500)


def test_amqtt_serves_one_plain_subscription_of_3_1_1_and_the_start_says_what_that_costs(
    cloud: Cloud, processes: Processes, tmp_path: Path
) -> None:
    broker = start_amqtt(processes, tmp_path)
    # amqtt sends a message once and forgets it 5 s later, so no more than it gets through at once.
    telemetry = up_and_down(cloud, broker, "--protocol=3.1.1", protocol=V311, count=50)
    said = telemetry.said()
    assert "one connection" in said
    assert "3.1.1" in said
