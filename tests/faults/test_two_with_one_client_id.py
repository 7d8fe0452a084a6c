"""A second pipeline with the client id of the first: both slow down, and say what to do; where the
broker tells of a take-over, the second one ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.brokers import Broker, start_mosquitto
from tests.harness.cloud import Cloud
from tests.harness.devices import Device, wait_until_subscribed
from tests.harness.fixtures import own_with_devices
from tests.harness.processes import Process, Processes
from tests.harness.proxy import Proxy
from tests.harness.taps import Tap
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.faults

WATCHED_SECONDS = 12.0
HELD_SECONDS = 11.0
"""More than a connection must stand to be the one that was there first."""


@pytest.mark.parametrize(
    ("start", "words", "tells"),
    [
        # MQTT 5's DISCONNECT 0x8E names the reason.
        (
            own_with_devices,
            "ERROR .*another client connected as 'telemetry-0'.*stop the other one",
            True,
        ),
        # mosquitto closes the connection and says nothing.
        (
            start_mosquitto,
            "WARNING .* in a row .*does another client connect as 'telemetry-0'",
            False,
        ),
    ],
    ids=["own", "mosquitto"],
)
def test_both_slow_down_and_name_the_client_id(
    cloud: Cloud,
    processes: Processes,
    tmp_path: Path,
    start: Callable[[Processes, Path], Broker],
    words: str,
    tells: bool,
) -> None:
    broker = start(processes, tmp_path)
    with (
        Proxy(broker.address) as proxy,
        Tap(
            cloud.pubsub, cloud.telemetry_topic, key=lambda seen: seen.attributes["messageId"]
        ) as tap,
        Device(broker, "d1") as device,
    ):
        first = cloud.start_telemetry(broker, broker_address=proxy.address)
        stands = time.monotonic()
        wait_until_subscribed(device, tap)
        wait_until(lambda: time.monotonic() - stands > HELD_SECONDS, seconds=60, what="a hold")
        second = cloud.start_telemetry(broker, broker_address=proxy.address)
        told = either(first, second, words)
        before, begin = proxy.accepted, time.monotonic()
        wait_until(lambda: time.monotonic() - begin > WATCHED_SECONDS, seconds=60, what="the time")
        connects = proxy.accepted - before
        print(f"\n{told}\n{connects} connects of both in {WATCHED_SECONDS:g} s")
        # 64 each in 6.6 s was seen of clients that do not slow down.
        assert connects <= 12
        assert first.running
        if tells:
            assert second.wait_for_end(seconds=60) == 1
            assert "connected as 'telemetry-0' before this one came" in second.said()
            assert second.said().splitlines()[-1].endswith("; look at --client_id")
            assert first.running
        else:
            assert second.running
        # When the second one ends, the first goes on, and has lost nothing.
        numbers = [device.publish(b"%d" % n, message_id=f"m-{n}") for n in range(200)]
        device.wait_until_acknowledged(numbers)
        if second.running:
            second.stop()
        wait_until(lambda: tap.distinct == 201, seconds=60, what=lambda: f"200, not {tap.distinct}")


def either(first: Process, second: Process, words: str) -> str:
    """Waits until one of them has written such a line."""
    found: list[str] = []

    def said() -> bool:
        found.extend(
            match[0] for each in (first, second) if (match := re.search(words, each.said()))
        )
        return bool(found)

    wait_until(said, seconds=60, what=lambda: f"{words!r}:\n{first.said()}\n{second.said()}")
    return found[0]
