"""What a broker delivers with nothing behind it: ours with its store beside others without one.

QoS 1 from publishers in one process to one subscriber with a lasting session in another, 200 bytes
a message, the window of all publishers together 6,000. ``devices``: so many more are connected and
silent, each with a subscription of its own. The rate is taken from the first arrival to the last.
With ``rate`` the publisher keeps it, and how long messages take is measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.arrivals import WATCH_SECONDS, Arrivals, MqttWatcher
from bench.brokers import BrokerKind
from bench.processes import BenchError
from bench.services import TELEMETRY_FILTER, Endpoints, serving
from bench.throughput import finish, start_load
from bench.usage import UsageSampler
from mqtt.codec import ProtocolVersion

_QUIET_SECONDS = 5.0
_AMQTT_MESSAGES = 5_000
"""It takes minutes for what the others do in two seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """``publishers`` to one subscriber; ``rate`` in messages a second, None: flat out."""

    publishers: int = 1
    devices: int = 0
    rate: float | None = None
    messages: int = 100_000

    def __str__(self) -> str:
        words = f"{self.publishers} to 1"
        if self.devices:
            words += f", {self.devices:,} more connected"
        if self.rate:
            words += f", {self.rate:,.0f} a second"
        return words


SCENARIOS = (
    Scenario(),
    Scenario(publishers=50),
    Scenario(publishers=50, devices=2_000),
    Scenario(rate=2_000),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """One measurement. ``cpu_seconds``: the broker's, per 10,000 messages; latencies: from before
    the publish to the subscriber, where a rate was kept.
    """

    broker: BrokerKind
    scenario: Scenario
    messages_a_second: float
    cpu_seconds: float
    lost: int
    duplicates: int
    p50_ms: float | None = None
    p99_ms: float | None = None


def measure(broker: BrokerKind, scenario: Scenario) -> Delivered:
    """Measures a broker of its own once.

    Raises:
      BenchError: the broker does not start, refuses something, or delivers nothing.
    """
    protocol = ProtocolVersion.V311 if broker is BrokerKind.AMQTT else ProtocolVersion.V5
    messages = scenario.messages
    if broker is BrokerKind.AMQTT:
        messages = min(messages, _AMQTT_MESSAGES)
    arrivals = Arrivals(range(messages))
    options = [f"--connections={scenario.publishers}", f"--protocol={int(protocol)}"]
    if scenario.rate:
        options.append(f"--rate={scenario.rate}")
    with serving(broker) as endpoints, _devices(endpoints, scenario.devices, protocol):
        watcher = MqttWatcher(
            endpoints.broker_port,
            TELEMETRY_FILTER,
            password=endpoints.password,
            protocol=protocol,
            watch_seconds=0 if scenario.rate else WATCH_SECONDS,
        )
        watcher.arrivals = arrivals
        latencies = watcher.latencies_seconds = array("d")

        with watcher, UsageSampler(endpoints.broker_pid) as usage:
            port = f"--port={endpoints.broker_port}"
            finish(start_load(endpoints, "messages", arrivals.numbers, [port, *options]))
            _await(arrivals, watcher)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return Delivered(
        broker=broker,
        scenario=scenario,
        messages_a_second=arrivals.rate(),
        cpu_seconds=usage.cpu_between(*arrivals.span()) / arrivals.distinct * 10_000,
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
        p50_ms=cuts[49] * 1000 if scenario.rate else None,
        p99_ms=cuts[98] * 1000 if scenario.rate else None,
    )


def _await(arrivals: Arrivals, watcher: MqttWatcher) -> None:
    """Waits until every message has arrived, or none has for some seconds: those are lost."""
    seen, heard = 0, time.monotonic()
    while not arrivals.complete and time.monotonic() < heard + _QUIET_SECONDS:
        time.sleep(0.02)
        watcher.check()
        if arrivals.distinct > seen:
            seen, heard = arrivals.distinct, time.monotonic()


@contextmanager
def _devices(endpoints: Endpoints, count: int, protocol: ProtocolVersion) -> Iterator[None]:
    """Keeps so many devices connected."""
    if not count:
        yield
        return
    command = [sys.executable, "-m", "bench.idle"]
    command += [
        f"--port={endpoints.broker_port}",
        f"--count={count}",
        f"--protocol={int(protocol)}",
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **endpoints.environment()},
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise BenchError("the devices could not connect; why stands above")
            yield
        finally:
            process.terminate()
