"""How long a message takes from a device to a Pub/Sub subscriber, at a steady rate.

The time just before the publish is in the payload; the subscriber reads the same clock. Both ends
are the same for every peer, so the broker and the local Pub/Sub are in everybody's figure.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from bench.pace import Pace, carry
from bench.peers.peer import Peer
from bench.processes import BenchError
from bench.services import Services


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


def measure(peer: Peer, pace: Pace, services: Services) -> Latency:
    """Measures a peer once.

    Raises:
      BenchError: the peer, or a service, does not start or ends by itself.
    """
    carried = carry(peer, pace, services)
    arrivals, latencies = carried.arrivals, carried.latencies_seconds
    if not arrivals.distinct:
        raise BenchError(f"{peer.name}: nothing arrived")
    first, last = arrivals.span()
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return Latency(
        peer=peer.name,
        messages=arrivals.distinct,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        maximum_ms=max(latencies) * 1000,
        cores=carried.usage.cpu_between(first, last) / (last - first),
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
    )
