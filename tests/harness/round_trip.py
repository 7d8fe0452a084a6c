"""Telemetry up and a command down through any broker, with both pipelines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from paho.mqtt.enums import MQTTProtocolVersion

from localcloud.subscriber import PubSub
from schemas.messages import CommandOutcome, Outcome
from schemas.times import format_time, parse_time
from tests.harness.brokers import Broker
from tests.harness.cloud import RUNNING, Cloud
from tests.harness.devices import V5, Device, wait_until_subscribed
from tests.harness.processes import Process
from tests.harness.taps import Tap, command_id, publish_all
from tests.harness.waiting import wait_until


def outcome_of(tap: Tap, command: str, *, seconds: float = 20) -> CommandOutcome:
    wait_until(lambda: tap.of(command), seconds=seconds, what=f"an outcome of {command}")
    return CommandOutcome.from_json(tap.of(command)[0].data)


def up_and_down(
    cloud: Cloud,
    broker: Broker,
    *options: str,
    protocol: MQTTProtocolVersion,
    count: int,
) -> Process:
    """Sends messages up and one command down, and returns the telemetry pipeline."""
    telemetry = cloud.start_telemetry(broker, *options, wait=False)
    commands = cloud.start_commands(broker, *options, wait=False)
    with (
        PubSub(cloud.pubsub) as client,
        Tap(cloud.pubsub, cloud.telemetry_topic, key=lambda seen: seen.data.decode()) as tap,
        Tap(cloud.pubsub, cloud.results_topic, key=command_id) as results,
        Device(broker, "d1", protocol=protocol, subscribe=["devices/d1/commands/#"]) as device,
    ):
        telemetry.wait_for(RUNNING)
        commands.wait_for(RUNNING)
        wait_until_subscribed(device, tap)
        numbers = [device.publish(b"%d" % n, message_id=f"id-{n}") for n in range(count)]
        device.wait_until_acknowledged(numbers)
        wait_until(
            lambda: tap.distinct == count + 1,
            seconds=30,
            what=lambda: f"{count + 1} messages, not {tap.distinct}",
        )
        seen = tap.of("7")[0]
        assert seen.attributes["deviceId"] == "d1"
        assert seen.attributes["mqttTopic"] == "devices/d1/telemetry/env"
        assert seen.attributes["subFolder"] == "env"
        if protocol is V5:
            assert seen.attributes["messageId"] == "id-7"
            assert seen.attributes["messageIdFrom"] == "device"
            assert parse_time(seen.attributes["eventTime"]) <= datetime.now(UTC)
        else:
            assert seen.attributes["messageIdFrom"] == "content"
        later = format_time(datetime.now(UTC) + timedelta(minutes=1))
        publish_all(
            client,
            cloud.commands_topic,
            [(b"c-1", {"deviceId": "d1", "commandId": "c-1", "expiresAt": later})],
        )
        assert outcome_of(results, "c-1").outcome is Outcome.ACCEPTED
        wait_until(lambda: device.commands["c-1"] == 1, seconds=10, what="the command")
        assert device.messages[0].topic == "devices/d1/commands"
    return telemetry
