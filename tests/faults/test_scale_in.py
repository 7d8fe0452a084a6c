"""Fewer shards than before: what was dealt to those that go is read, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.harness.brokers import Broker, start_mosquitto
from tests.harness.cloud import RUNNING, Cloud
from tests.harness.devices import Device, wait_until_subscribed
from tests.harness.killing import Victim, kill
from tests.harness.processes import Processes
from tests.harness.taps import Tap, message_id
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.faults

ENDED = r"MQTT client telemetry-{shard}: its session is empty and ended"


@pytest.fixture(params=["own", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "own":
        found: Broker = request.getfixturevalue("own_broker")
        return found
    processes: Processes = request.getfixturevalue("processes")
    return start_mosquitto(processes, request.getfixturevalue("tmp_path"))


def test_scaling_in_from_four_shards_to_one_loses_nothing(cloud: Cloud, broker: Broker) -> None:
    with (
        Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id) as tap,
        Device(broker, "d1") as device,
    ):

        def publish(*numbers: int) -> None:
            sent = [device.publish(b"%d" % n, message_id=f"m-{n}") for n in numbers]
            device.wait_until_acknowledged(sent)

        def arrived(count: int) -> None:
            wanted = {f"m-{n}" for n in range(count)}
            wait_until(
                lambda: wanted <= set(tap.counts),
                seconds=30,
                what=lambda: f"{len(wanted - set(tap.counts))} messages more",
            )

        four = cloud.start_telemetry(broker, "--shards=4")
        wait_until_subscribed(device, tap)
        publish(*range(200))
        arrived(200)
        # Some are dealt to shards that have no chance to read them.
        kill(four, Victim.BOTH)
        publish(*range(200, 600))

        fewer = cloud.start_telemetry(broker, "--shards=1", "--shards_before=4", wait=False)
        fewer.wait_for(RUNNING)
        publish(*range(600, 700))
        arrived(700)
        for shard in (1, 2, 3):
            fewer.wait_for(ENDED.format(shard=shard), seconds=40)
        publish(*range(700, 800))
        arrived(800)
        fewer.stop()

        # Nobody is dealt what nobody would read.
        publish(*range(800, 900))
        one = cloud.start_telemetry(broker, "--shards=1")
        arrived(900)
        one.stop()
