"""The bench's command line: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench import ceiling, delivery, latency, report, soak, throughput
from bench.brokers import BrokerKind, default_broker, find_mosquitto
from bench.pace import Pace
from bench.peers.benthos import Benthos, BenthosDefaults
from bench.peers.flink import SHARDS, OnFlink
from bench.peers.mqttbeam import MqttBeam
from bench.peers.peer import Direction, Peer
from bench.peers.script import Script
from bench.processes import BenchError
from bench.services import PUBSUB_COMMAND, Services
from bench.throughput import Load, Mode

PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (MqttBeam, Script, Benthos, BenthosDefaults)
}

_EXAMPLES = """\
examples:
  python -m bench                                   all of it, some 45 minutes
  python -m bench telemetry --rounds 3
  python -m bench commands --peers mqttbeam,benthos --mode live
  python -m bench soak --seconds 600 --write        and put the figures into bench/RESULTS.md
"""

PACED_SECONDS = 10.0
"""How long a broker is measured at a steady rate."""

Figure = TypeVar("Figure")


def main() -> int:
    """Runs the measurements that were asked for; the exit status is 1 where one could not."""
    options = _parser().parse_args()
    # As an exception, so that a measurement that is ended takes its processes with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = MEASUREMENTS if options.what == "all" else {options.what: MEASUREMENTS[options.what]}
    try:
        _publish("machine", report.machine(options.broker), options)
        for section, measure in chosen.items():
            if options.what == "all":
                defaults = _parser().parse_args([section])
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures this project beside what users would run instead, on loopback.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(
        what="all", write=False, broker=default_broker(), pubsub_command=PUBSUB_COMMAND
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--write", action="store_true", help="put the figures into bench/RESULTS.md, too"
    )
    common.add_argument(
        "--broker",
        type=BrokerKind,
        choices=[BrokerKind.MOSQUITTO, BrokerKind.OWN],
        default=default_broker(),
        metavar="mosquitto|own",
        help="default: mosquitto where it is installed",
    )
    common.add_argument(
        "--pubsub-command",
        default=PUBSUB_COMMAND,
        metavar="COMMAND",
        help="what serves Pub/Sub, at the port that replaces {port} (default: our own)",
    )
    kinds = parser.add_subparsers(dest="what", metavar="|".join([*MEASUREMENTS, "all"]))
    kinds.add_parser("all", parents=[common], help="everything with its defaults (the default)")
    _throughput_options(
        kinds.add_parser("telemetry", parents=[common], help="messages a second, MQTT to Pub/Sub"),
        telemetry=True,
    )
    _pace_options(
        kinds.add_parser("latency", parents=[common], help="p50 and p99 at a steady rate"),
        rate=500,
        seconds=20,
        warm_up_seconds=3,
        rounds=3,
        peers=list(PEERS),
    )
    _throughput_options(
        kinds.add_parser("commands", parents=[common], help="commands a second, Pub/Sub to MQTT"),
        telemetry=False,
    )
    soaking = kinds.add_parser("soak", parents=[common], help="memory under a steady load")
    _pace_options(
        soaking, rate=2000, seconds=600, warm_up_seconds=0, rounds=1, peers=[MqttBeam.name]
    )
    soaking.add_argument(
        "--csv",
        type=Path,
        default=Path("bench/.build/soak.csv"),
        help="where resident memory goes, each peer's name added (default: %(default)s)",
    )
    on_flink = kinds.add_parser(
        "flink", parents=[common], help="messages a second on a Flink cluster, by shards"
    )
    on_flink.add_argument("--messages", type=_positive, default=100_000, help="%(default)s")
    on_flink.add_argument(
        "--shards",
        type=_shards,
        default=SHARDS,
        metavar="N,…",
        help=f"default: {','.join(map(str, SHARDS))}",
    )
    on_flink.add_argument("--rounds", type=_positive, default=2, help="default: %(default)s")
    _device_options(on_flink)
    beside = kinds.add_parser(
        "brokers", parents=[common], help="our broker with its store beside others without one"
    )
    beside.add_argument("--messages", type=_positive, default=100_000, help="%(default)s")
    beside.add_argument("--rounds", type=_positive, default=3, help="default: %(default)s")
    beside.add_argument(
        "--brokers",
        type=_brokers_of,
        default=[
            kind for kind in BrokerKind if kind is not BrokerKind.MOSQUITTO or find_mosquitto()
        ],
        metavar="NAME,…",
        help=f"of {', '.join(kind.value for kind in BrokerKind)} (default: all that are here)",
    )
    numbered = "; ".join(f"{place}: {each}" for place, each in enumerate(delivery.SCENARIOS))
    beside.add_argument(
        "--scenarios",
        type=_places,
        metavar="N,…",
        help=f"{numbered} (default: all)",
    )
    return parser


def _throughput_options(parser: argparse.ArgumentParser, *, telemetry: bool) -> None:
    parser.add_argument("--messages", type=_positive, default=100_000, help="default: %(default)s")
    parser.add_argument(
        "--mode",
        type=Mode,
        choices=list(Mode),
        default=Mode.BACKLOG,
        metavar="backlog|live",
        help="work off a backlog with nothing else running, which ratios are quoted from, or"
        " while the messages are published (default: backlog)",
    )
    _peer_options(parser, rounds=5, peers=list(PEERS))
    if telemetry:
        _device_options(parser)
    else:
        parser.set_defaults(device_properties=False)


def _pace_options(
    parser: argparse.ArgumentParser,
    *,
    rate: float,
    seconds: float,
    warm_up_seconds: float,
    rounds: int,
    peers: list[str],
) -> None:
    parser.add_argument("--rate", type=float, default=rate, help="messages a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="default: %(default)s")
    parser.add_argument(
        "--warm-up-seconds",
        type=float,
        default=warm_up_seconds,
        help="at the same rate, not measured (default: %(default)s)",
    )
    _device_options(parser)
    _peer_options(parser, rounds=rounds, peers=peers)


def _device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device-properties",
        action="store_true",
        help="devices send MQTT 5 user properties message-id and event-time and a content type",
    )


def _peer_options(parser: argparse.ArgumentParser, *, rounds: int, peers: list[str]) -> None:
    parser.add_argument(
        "--peers",
        type=_peers,
        default=peers,
        metavar="NAME,…",
        help=f"of {', '.join(PEERS)}; ratios are of the first to the others"
        f" (default: {','.join(peers)})",
    )
    if rounds > 1:
        parser.add_argument("--rounds", type=_positive, default=rounds, help="default: %(default)s")
    else:
        parser.set_defaults(rounds=rounds)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


def _brokers_of(text: str) -> list[BrokerKind]:
    try:
        return [BrokerKind(name) for name in text.split(",")]
    except ValueError as error:
        known = ", ".join(kind.value for kind in BrokerKind)
        raise argparse.ArgumentTypeError(f"{error}; the brokers are {known}") from None


def _places(text: str) -> list[int]:
    places = [int(each) for each in text.split(",")]
    if not set(places) <= set(range(len(delivery.SCENARIOS))):
        raise argparse.ArgumentTypeError(f"{text}: 0 to {len(delivery.SCENARIOS) - 1}")
    return places


def _shards(text: str) -> tuple[int, ...]:
    return tuple(map(_positive, text.split(",")))


def _peers(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text}: must be different ones of {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
