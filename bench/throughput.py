"""How many messages a second, and what CPU time they cost: telemetry up and commands down.

Two modes, the same for every peer:

- ``backlog`` (the ratios are from this one): the peer connects once, so that its session or
  subscription exists, and is stopped; all messages are published; then it is started and works
  them off. Nothing else runs but the broker, Pub/Sub and the peer.
- ``live``: the peer runs already, and the publisher fills the broker as fast as it acknowledges,
  on the same cores. What the broker spends on taking messages in then bounds the fastest peers.

The broker bounds them anyway: ``bench.ceiling`` measures that in the same rounds.

The rate is taken from the first arrival to the last, CPU time between the same two moments: the
start of an interpreter or of a runner is not in it.
"""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.arrivals import Arrivals, MqttWatcher, drain
from bench.peers.peer import Direction, Peer
from bench.processes import BenchError
from bench.services import (
    COMMANDS_FILTER,
    COMMANDS_TOPIC,
    TELEMETRY_SUBSCRIPTION,
    Endpoints,
    Services,
    subscription_path,
    topic_path,
)
from bench.usage import UsageSampler

WARM_UP_MESSAGES = 100
_WARM_UP_FIRST = 1_000_000_000
_CONNECT_SECONDS = 90.0
_WORK_SECONDS = 180.0
_QUIET_SECONDS = 8.0
# Taking in a message costs the local Pub/Sub more than this, and being idle costs it less than
# five hundredths of a core: the two tell "not begun yet" and "done" without a consumer.
_PUBSUB_SECONDS_A_MESSAGE = 3e-6
_IDLE_CORES = 0.05
_IDLE_SECONDS = 1.0


class Mode(enum.Enum):
    """See the module."""

    BACKLOG = "backlog"
    LIVE = "live"


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """One measurement of one peer. ``cpu_seconds``: user and system of all its processes, per
    10,000 messages, None where there was no peer; ``longest_pause_seconds``: without an arrival,
    which tells a stall from a slow run.
    """

    peer: str
    messages: int
    messages_a_second: float
    cpu_seconds: float | None
    longest_pause_seconds: float
    lost: int
    duplicates: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """``messages`` in all, and whether the devices send MQTT 5 properties with each."""

    messages: int
    mode: Mode
    device_properties: bool = False


def generate(
    endpoints: Endpoints,
    direction: Direction,
    numbers: range,
    *,
    rate: float | None = None,
    device_properties: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts the process that publishes the messages numbered ``numbers``; telemetry at ``rate``
    messages a second, or flat out, and with MQTT 5 properties where asked for.
    """
    if direction is Direction.TELEMETRY:
        options = [f"--port={endpoints.broker_port}"]
        if rate is not None:
            options.append(f"--rate={rate}")
        if device_properties:
            options.append("--device-properties")
    else:
        options = [
            f"--address={endpoints.pubsub_address}",
            f"--topic={topic_path(COMMANDS_TOPIC)}",
        ]
    return start_load(endpoints, direction.value, numbers, options)


def start_load(
    endpoints: Endpoints, kind: str, numbers: range, options: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Starts ``bench.load`` with a kind of load and that kind's options."""
    command = [sys.executable, "-m", "bench.load"]
    command += [f"--first={numbers.start}", f"--count={len(numbers)}", kind, *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, **endpoints.environment()}
    )


def finish(generator: subprocess.Popen[bytes]) -> int:
    """Waits for the generator; how many messages it published.

    Raises:
      BenchError: it failed; it has said why on standard error.
    """
    said, _ = generator.communicate(timeout=_WORK_SECONDS)
    if generator.returncode:
        raise BenchError(f"the load generator ended with status {generator.returncode}")
    published: int = json.loads(said)["published"]
    return published


def measure(peer: Peer, load: Load, services: Services) -> Throughput:
    """Measures a peer once between services that no one else uses.

    Raises:
      BenchError: the peer, or a service, does not start or ends by itself.
    """
    work = _telemetry if peer.direction is Direction.TELEMETRY else _commands
    try:
        return work(peer, load, services)
    finally:
        peer.stop()


def _telemetry(peer: Peer, load: Load, services: Services) -> Throughput:
    subscription = subscription_path(TELEMETRY_SUBSCRIPTION)
    arrivals = Arrivals(range(load.messages))

    def publish() -> None:
        finish(
            generate(
                services.endpoints,
                peer.direction,
                arrivals.numbers,
                device_properties=load.device_properties,
            )
        )

    def look(warm_up: Arrivals) -> None:
        drain(services.pubsub, subscription, warm_up, quiet_seconds=0.1)

    peer.start(services.endpoints)
    warm_up(peer, services, look)
    if load.mode is Mode.BACKLOG:
        peer.stop()
        publish()
        peer.start(services.endpoints)
    before = services.pubsub_cpu_seconds()
    with UsageSampler(peer.pid) as usage:
        if load.mode is Mode.LIVE:
            publish()
        _await_pubsub(peer, services, before + load.messages * _PUBSUB_SECONDS_A_MESSAGE)
    drain(services.pubsub, subscription, arrivals, quiet_seconds=_QUIET_SECONDS)
    peer.check()
    return _result(peer, arrivals, usage)


def _commands(peer: Peer, load: Load, services: Services) -> Throughput:
    arrivals = Arrivals(range(load.messages))
    endpoints = services.endpoints
    with MqttWatcher(
        endpoints.broker_port, COMMANDS_FILTER, password=endpoints.password
    ) as watcher:

        def look(warm_up: Arrivals) -> None:
            watcher.arrivals = warm_up
            time.sleep(0.05)

        peer.start(endpoints)
        warm_up(peer, services, look)
        watcher.arrivals = arrivals
        if load.mode is Mode.BACKLOG:
            peer.stop()
            finish(generate(endpoints, peer.direction, arrivals.numbers))
            peer.start(endpoints)
        with UsageSampler(peer.pid) as usage:
            if load.mode is Mode.LIVE:
                finish(generate(endpoints, peer.direction, arrivals.numbers))
            _await_arrivals(peer, watcher, arrivals)
    return _result(peer, arrivals, usage)


def _result(peer: Peer, arrivals: Arrivals, usage: UsageSampler) -> Throughput:
    return Throughput(
        peer=peer.name,
        messages=arrivals.distinct,
        messages_a_second=arrivals.rate(),
        cpu_seconds=usage.cpu_between(*arrivals.span()) / arrivals.distinct * 10_000,
        longest_pause_seconds=arrivals.longest_pause(),
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
    )


def warm_up(peer: Peer, services: Services, look: Callable[[Arrivals], None]) -> None:
    """Sends small batches until one arrives whole: the peer is connected, its session exists.

    What is sent before the first connection of all finds no session and is nobody's. ``look``
    gathers arrivals for a moment; it is called before a batch is sent, too.

    Raises:
      BenchError: the peer ended, or none arrived within 90 s.
    """
    deadline = time.monotonic() + _CONNECT_SECONDS
    first = _WARM_UP_FIRST
    while time.monotonic() < deadline:
        peer.check()
        arrivals = Arrivals(range(first, first + WARM_UP_MESSAGES))
        first += WARM_UP_MESSAGES
        look(arrivals)
        finish(generate(services.endpoints, peer.direction, arrivals.numbers))
        patience = time.monotonic() + 2.0
        while time.monotonic() < patience:
            look(arrivals)
            if arrivals.complete:
                return
    raise BenchError(f"{peer.name} did not carry a message within {_CONNECT_SECONDS:g} s")


def _await_pubsub(peer: Peer, services: Services, begun_at_cpu_seconds: float) -> None:
    """Waits until Pub/Sub has worked and then been idle for a second."""
    deadline = time.monotonic() + _WORK_SECONDS
    mark, marked = services.pubsub_cpu_seconds(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(_IDLE_SECONDS / 10)
        peer.check()
        spent, now = services.pubsub_cpu_seconds(), time.monotonic()
        if spent < begun_at_cpu_seconds or spent - mark > _IDLE_CORES * _IDLE_SECONDS:
            mark, marked = spent, now
        elif now - marked >= _IDLE_SECONDS:
            return


def _await_arrivals(peer: Peer, watcher: MqttWatcher, arrivals: Arrivals) -> None:
    """Waits until all commands have arrived, or none has for some seconds."""
    deadline = time.monotonic() + _WORK_SECONDS
    seen, heard = 0, time.monotonic() + _CONNECT_SECONDS
    while not arrivals.complete and time.monotonic() < min(deadline, heard + _QUIET_SECONDS):
        time.sleep(0.05)
        peer.check()
        watcher.check()
        if arrivals.distinct > seen:
            seen, heard = arrivals.distinct, time.monotonic()
