"""What the broker carries with neither a peer nor Pub/Sub running: the ceiling of all peers.

- telemetry: what it hands out of a backlog to a bare QoS 1 subscriber; in mode ``live``, while
  the devices publish;
- commands: what it takes from a bare publisher, which has encoded everything beforehand, and
  hands to the subscriber that watches the peers. The packets are those of our pipeline; the other
  peers send neither a response topic nor a user property.
"""

from __future__ import annotations

import subprocess

from bench.arrivals import Arrivals, MqttWatcher
from bench.brokers import BrokerKind
from bench.peers.peer import Direction
from bench.processes import wait_until
from bench.services import COMMANDS_FILTER, TELEMETRY_FILTER, Endpoints, serving
from bench.throughput import Load, Mode, Throughput, finish, generate, start_load

NAME = "broker alone"
_FILTERS = {Direction.TELEMETRY: TELEMETRY_FILTER, Direction.COMMANDS: COMMANDS_FILTER}
_ARRIVAL_SECONDS = 30.0


def measure(direction: Direction, load: Load, broker: BrokerKind) -> Throughput:
    """Measures a broker of its own once.

    Raises:
      BenchError: the broker does not start, refuses something, or keeps a message to itself.
    """
    arrivals = Arrivals(range(load.messages))
    with serving(broker) as endpoints:

        def watch() -> MqttWatcher:
            return MqttWatcher(
                endpoints.broker_port, _FILTERS[direction], password=endpoints.password
            )

        def complete() -> bool:
            watcher.check()
            return arrivals.complete

        backlog = direction is Direction.TELEMETRY and load.mode is Mode.BACKLOG
        if backlog:
            with watch():
                pass
            finish(_publish(direction, load, endpoints))
        watcher = watch()
        watcher.arrivals = arrivals
        with watcher:
            if not backlog:
                finish(_publish(direction, load, endpoints))
            wait_until(complete, seconds=_ARRIVAL_SECONDS, what=f"every message of the {NAME}")
    return Throughput(
        peer=NAME,
        messages=arrivals.distinct,
        messages_a_second=arrivals.rate(),
        cpu_seconds=None,
        longest_pause_seconds=arrivals.longest_pause(),
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
    )


def _publish(direction: Direction, load: Load, endpoints: Endpoints) -> subprocess.Popen[bytes]:
    numbers = range(load.messages)
    if direction is Direction.TELEMETRY:
        return generate(endpoints, direction, numbers, device_properties=load.device_properties)
    return start_load(endpoints, "bare-commands", numbers, [f"--port={endpoints.broker_port}"])
