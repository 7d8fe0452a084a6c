"""Whether memory stays flat: a steady load for minutes, resident memory once a second to a CSV."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.pace import Pace, carry
from bench.peers.peer import Peer
from bench.services import Services
from bench.usage import Sample

_MEGABYTE = 1_000_000
# What the first fifth of the run shows is caches and pools filling up.
_SETTLING_SHARE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessMemory:
    """Resident memory of one process; the slope is a least-squares line through the last four
    fifths of the run.
    """

    process: str
    first_megabytes: float
    maximum_megabytes: float
    last_megabytes: float
    slope_megabytes_a_minute: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Soak:
    """One run of one peer."""

    peer: str
    messages: int
    lost: int
    duplicates: int
    memory: tuple[ProcessMemory, ...]


def measure(peer: Peer, pace: Pace, services: Services, table: Path) -> Soak:
    """Runs a peer under a steady load and writes ``seconds,process,resident_bytes`` to ``table``.

    Raises:
      BenchError: the peer, or a service, does not start or ends by itself.
    """
    carried = carry(peer, pace, services, sample_seconds=1.0, memory=True)
    arrivals, samples = carried.arrivals, carried.usage.samples
    _write(table, samples)
    return Soak(
        peer=peer.name,
        messages=arrivals.distinct,
        lost=arrivals.lost,
        duplicates=arrivals.duplicates,
        memory=tuple(memory_of(samples)),
    )


def memory_of(samples: Sequence[Sample]) -> list[ProcessMemory]:
    """The summary of every process that was there for at least half of the samples."""
    found: list[ProcessMemory] = []
    names = {name for sample in samples for name in sample.resident_bytes}
    for name in sorted(names):
        points = [
            (sample.at, sample.resident_bytes[name] / _MEGABYTE)
            for sample in samples
            if name in sample.resident_bytes
        ]
        if len(points) < max(2, len(samples) / 2):
            continue
        settled = points[int(len(points) * _SETTLING_SHARE) :]
        slope, _ = statistics.linear_regression(*zip(*settled, strict=True))
        values = [megabytes for _, megabytes in points]
        found.append(
            ProcessMemory(
                process=name.partition(":")[0],
                first_megabytes=values[0],
                maximum_megabytes=max(values),
                last_megabytes=values[-1],
                slope_megabytes_a_minute=slope * 60,
            )
        )
    return found


def _write(table: Path, samples: Sequence[Sample]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["seconds", "process", "resident_bytes"])
        for sample in samples:
            for name, resident in sample.resident_bytes.items():
                rows.writerow([f"{sample.at - samples[0].at:.1f}", name, resident])
