"""How long a message takes from a device to a Pub/Sub subscriber, at a steady rate.

The time just before the publish is in the payload; the subscriber reads the same clock. Both ends
are the same for every peer, so the broker and the local Pub/Sub are in everybody's figure.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import dataclass

from bench.arrivals import Arrivals, PubSubWatcher, drain
from bench.peers.peer import Direction, Peer
from bench.processes import BenchError
from bench.services import TELEMETRY_SUBSCRIPTION, Services, subscription_path
from bench.throughput import finish, generate, warm_up
from bench.usage import UsageSampler

_LAST_ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Percentiles over all messages of the measured time, in milliseconds; ``cores``: CPU time a
    second of all the peer's processes.
    """

    peer: str
    messages: int
    p50_ms: float
    p99_ms: float
    maximum_ms: float
    cores: float
    lost: int
    duplicates: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """A steady load: ``rate`` messages a second, measured for ``seconds`` after a warm-up."""

    rate: float
    seconds: float
    warm_up_seconds: float
    device_properties: bool = False

    def numbers(self) -> tuple[range, range]:
        """The messages of the warm-up and those that are measured."""
        before = round(self.rate * self.warm_up_seconds)
        return range(before), range(before, before + round(self.rate * self.seconds))


def measure(peer: Peer, pace: Pace, services: Services) -> Latency:
    """Measures a peer once.

    Raises:
      BenchError: the peer, or a service, does not start or ends by itself.
    """
    subscription = subscription_path(TELEMETRY_SUBSCRIPTION)
    before, measured = pace.numbers()
    arrivals = Arrivals(measured)
    try:
        peer.start(services.endpoints)
        warm_up(
            peer,
            services,
            lambda batch: drain(services.pubsub, subscription, batch, quiet_seconds=0.1),
        )
        with PubSubWatcher(services.pubsub, subscription, arrivals) as watcher:
            generator = generate(
                services,
                Direction.TELEMETRY,
                range(before.start, measured.stop),
                rate=pace.rate,
                device_properties=pace.device_properties,
            )
            with UsageSampler(peer.pid) as usage:
                watch(peer, watcher, generator, arrivals)
    finally:
        peer.stop()
    if not arrivals.distinct:
        raise BenchError(f"{peer.name}: nothing arrived")
    first, last = arrivals.span()
    cuts = statistics.quantiles(watcher.latencies_seconds, n=100, method="inclusive")
    return Latency(
        peer=peer.name,
        messages=arrivals.distinct,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        maximum_ms=max(watcher.latencies_seconds) * 1000,
        cores=usage.cpu_between(first, last) / (last - first),
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
    )


def watch(
    peer: Peer,
    watcher: PubSubWatcher,
    generator: subprocess.Popen[bytes],
    arrivals: Arrivals,
) -> None:
    """Waits for the generator to end and then, for ten seconds at most, for the last arrivals."""
    try:
        while generator.poll() is None:
            peer.check()
            watcher.check()
            time.sleep(0.1)
        finish(generator)
    finally:
        if generator.poll() is None:
            generator.kill()
            generator.wait()
    deadline = time.monotonic() + _LAST_ARRIVAL_SECONDS
    while not arrivals.complete and time.monotonic() < deadline:
        peer.check()
        time.sleep(0.05)
