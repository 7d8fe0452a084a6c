"""A steady load through one peer, watched by a Pub/Sub subscriber: for latency and for memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.arrivals import Arrivals, PubSubWatcher, drain
from bench.peers.peer import Direction, Peer
from bench.services import TELEMETRY_SUBSCRIPTION, Services, subscription_path
from bench.throughput import finish, generate, warm_up
from bench.usage import UsageSampler

_LAST_ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """A steady load: ``rate`` messages a second, measured for ``seconds`` after a warm-up."""

    rate: float
    seconds: float
    warm_up_seconds: float
    device_properties: bool = False

    def __str__(self) -> str:
        return f"{self.rate:g} messages a second for {self.seconds:g} s"

    def numbers(self) -> tuple[range, range]:
        """The messages of the warm-up and those that are measured."""
        before = round(self.rate * self.warm_up_seconds)
        return range(before), range(before, before + round(self.rate * self.seconds))


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What came of the measured messages, and what all of them cost.

    ``latencies_seconds``: as PubSubWatcher's.
    """

    arrivals: Arrivals
    latencies_seconds: Sequence[float]
    usage: UsageSampler


def carry(
    peer: Peer,
    pace: Pace,
    services: Services,
    *,
    sample_seconds: float = 0.1,
    memory: bool = False,
) -> Carried:
    """Has a peer carry telemetry at a pace; samples its CPU time, and its memory if asked to.

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
                services.endpoints,
                Direction.TELEMETRY,
                range(before.start, measured.stop),
                rate=pace.rate,
                device_properties=pace.device_properties,
            )
            with UsageSampler(peer.pid, interval_seconds=sample_seconds, memory=memory) as usage:
                _watch(peer, watcher, generator, arrivals)
    finally:
        peer.stop()
    return Carried(arrivals=arrivals, latencies_seconds=watcher.latencies_seconds, usage=usage)


def _watch(
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
