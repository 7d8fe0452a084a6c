"""The options of the bench's command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench import delivery
from bench.brokers import BrokerKind, default_broker, find_mosquitto
from bench.peers.benthos import Benthos, BenthosDefaults
from bench.peers.flink import SHARDS
from bench.peers.mqttbeam import MqttBeam
from bench.peers.peer import Peer
from bench.peers.script import Script
from bench.services import PUBSUB_COMMAND
from bench.throughput import Mode

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


def parser(measurements: Sequence[str]) -> argparse.ArgumentParser:
    """The options of every one of ``measurements``, and what they have in common."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures this project beside what users would run instead, on loopback.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(
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
    kinds = made.add_subparsers(dest="what", metavar="|".join([*measurements, "all"]))
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
    return made


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
