"""The bench's command line: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bench import ceiling, delivery, latency, report, soak, throughput
from bench.brokers import BrokerKind
from bench.options import PEERS, parser
from bench.pace import Pace
from bench.peers.flink import OnFlink
from bench.peers.peer import Direction, Peer
from bench.processes import BenchError
from bench.services import Services
from bench.throughput import Load, Mode

PACED_SECONDS = 10.0
"""How long a broker is measured at a steady rate."""

Figure = TypeVar("Figure")


def main() -> int:
    """Runs the measurements that were asked for; the exit status is 1 where one could not."""
    options = parser(list(MEASUREMENTS)).parse_args()
    # As an exception, so that a measurement that is ended takes its processes with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = MEASUREMENTS if options.what == "all" else {options.what: MEASUREMENTS[options.what]}
    try:
        _publish("machine", report.machine(options.broker), options)
        for section, measure in chosen.items():
            if options.what == "all":
                defaults = parser(list(MEASUREMENTS)).parse_args([section])
                for shared in ("write", "broker", "pubsub_command"):
                    setattr(defaults, shared, getattr(options, shared))
                _publish(section, measure(defaults), defaults, _repeat([section]))
            else:
                _publish(section, measure(options), options, _repeat(sys.argv[1:]))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _throughput(direction: Direction, options: argparse.Namespace) -> str:
    load = Load(
        messages=options.messages, mode=options.mode, device_properties=options.device_properties
    )
    rounds = _rounds(
        options,
        direction,
        lambda peer, services: throughput.measure(peer, load, services),
        lambda: ceiling.measure(direction, load, options.broker),
    )
    what = f"{options.messages:,} messages of 200 bytes, mode {options.mode.value}"
    return f"{what}\n\n{report.throughput(rounds)}"


def _latency(options: argparse.Namespace) -> str:
    pace = _pace(options)
    rounds = _rounds(
        options,
        Direction.TELEMETRY,
        lambda peer, services: latency.measure(peer, pace, services),
    )
    return f"{pace}\n\n{report.latency(rounds)}"


def _soak(options: argparse.Namespace) -> str:
    pace = _pace(options)

    def measure(peer: Peer, services: Services) -> soak.Soak:
        return soak.measure(
            peer, pace, services, options.csv.with_stem(f"{options.csv.stem}-{peer.name}")
        )

    (runs,) = _rounds(options, Direction.TELEMETRY, measure)
    return f"{pace}\n\n{report.soak(runs)}"


def _flink(options: argparse.Namespace) -> str:
    load = Load(
        messages=options.messages, mode=Mode.BACKLOG, device_properties=options.device_properties
    )
    others = report.load_average()
    rounds = _rounds(
        options,
        Direction.TELEMETRY,
        lambda peer, services: throughput.measure(peer, load, services),
        peers=[OnFlink(shards) for shards in options.shards],
    )
    what = (
        f"{options.messages:,} messages of 200 bytes, mode {load.mode.value}; load average at the"
        f" start {others}"
    )
    return f"{what}\n\n{report.flink(rounds)}"


def _brokers(options: argparse.Namespace) -> str:
    scenarios = [
        replace(each, messages=round(each.rate * PACED_SECONDS) if each.rate else options.messages)
        for each in delivery.SCENARIOS
    ]
    if options.scenarios:
        scenarios = [scenarios[place] for place in options.scenarios]
    rounds: list[list[delivery.Delivered]] = []
    for number in range(1, options.rounds + 1):
        figures = []
        for scenario in scenarios:
            for kind in options.brokers:
                if kind is BrokerKind.AMQTT and scenario.rate:
                    continue
                figures.append(delivery.measure(kind, scenario))
                said = f"round {number} of {options.rounds}: {figures[-1]}"
                print(said, file=sys.stderr, flush=True)
        rounds.append(figures)
    what = f"{options.messages:,} messages of 200 bytes, QoS 1, to one lasting session"
    return f"{what}\n\n{report.brokers(rounds)}"


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "telemetry": partial(_throughput, Direction.TELEMETRY),
    "latency": _latency,
    "commands": partial(_throughput, Direction.COMMANDS),
    "soak": _soak,
    "flink": _flink,
    "brokers": _brokers,
}


def _pace(options: argparse.Namespace) -> Pace:
    return Pace(
        rate=options.rate,
        seconds=options.seconds,
        warm_up_seconds=options.warm_up_seconds,
        device_properties=options.device_properties,
    )


def _rounds(
    options: argparse.Namespace,
    direction: Direction,
    measure: Callable[[Peer, Services], Figure],
    measure_without_peer: Callable[[], Figure] | None = None,
    *,
    peers: Sequence[Peer] | None = None,
) -> list[list[Figure]]:
    """Measures the peers in turn, A B C A B C …, each between services of its own; what there is
    to measure without a peer comes last in each round.
    """
    if peers is None:
        peers = [PEERS[name](direction) for name in options.peers]
    present: list[Peer] = []
    for peer in peers:
        reason = peer.unavailable()
        if reason is None:
            present.append(peer)
        else:
            print(f"skipped {peer.name}: {reason}", file=sys.stderr)
    if not present:
        raise BenchError("none of the peers can be measured here")

    def between_services(peer: Peer) -> Figure:
        with Services(options.broker, options.pubsub_command) as services:
            return measure(peer, services)

    turns: list[Callable[[], Figure]] = [partial(between_services, peer) for peer in present]
    if measure_without_peer is not None:
        turns.append(measure_without_peer)
    rounds: list[list[Figure]] = []
    for number in range(1, options.rounds + 1):
        figures: list[Figure] = []
        for turn in turns:
            figures.append(turn())
            said = f"round {number} of {options.rounds}: {figures[-1]}"
            print(said, file=sys.stderr, flush=True)
        rounds.append(figures)
    return rounds


def _repeat(arguments: Sequence[str]) -> str:
    return f"\n\nRepeat: `python -m bench {shlex.join(arguments)}`"


def _publish(section: str, body: str, options: argparse.Namespace, repeat: str = "") -> None:
    print(f"\n{report.SECTIONS[section]}\n\n{body}", flush=True)
    if options.write:
        report.write(section, body + repeat)


if __name__ == "__main__":
    sys.exit(main())
