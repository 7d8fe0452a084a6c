"""The figures as tables: on the terminal, and in RESULTS.md section by section."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from bench import ceiling
from bench.brokers import BrokerKind, describe
from bench.delivery import Delivered
from bench.latency import Latency
from bench.peers import benthos
from bench.soak import Soak
from bench.throughput import Throughput

RESULTS = Path(__file__).parent / "RESULTS.md"
SECTIONS = {
    "machine": "The machine",
    "telemetry": "Telemetry: MQTT to Pub/Sub",
    "latency": "Latency: device to Pub/Sub subscriber",
    "commands": "Commands: Pub/Sub to MQTT",
    "soak": "Memory under a steady load",
    "flink": "Telemetry on a Flink cluster",
    "brokers": "The embedded broker beside others",
}
_PACKAGES = ("apache-beam", "mqtt5", "paho-mqtt", "google-cloud-pubsub", "grpcio", "protobuf")
_INTRODUCTION = """\
# Results

Written by `python -m bench --write`; every section says how to repeat it. The machine's speed is
in every figure, so compare ratios: peers take turns, and a ratio is taken within a round. How it
is measured stands at the top of `bench/throughput.py`, `bench/latency.py` and `bench/soak.py`;
the peers' settings and their reasons in `bench/scripts/` and `bench/benthos/`.
"""

_FLINK = """\
CPU is of the whole cluster: ZooKeeper, job manager, job server, two task managers, Python workers.
It shares its cores with the broker and Pub/Sub, so what more shards bring ends with the cores."""

_CEILING = f"""\
`{ceiling.NAME}` is no peer but the ceiling of all: what the broker carried with neither a peer nor
Pub/Sub on the cores (`bench/ceiling.py`)."""

Rounds = Sequence[Sequence[Throughput]]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well on a terminal; all but the first column are
    set to the right.
    """
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"
        for column, width in enumerate(widths)
    )
    return "\n".join([line(cells[0]), rule + "|", *map(line, cells[1:])])


def spread(values: Sequence[float], form: str) -> str:
    """Median and, in brackets, least to most."""
    if len(values) == 1:
        return form.format(values[0])
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(statistics.median(values))} ({low} to {high})"


def _spread_of_known(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return spread(known, "{:.2f}") if known else ""


def throughput(rounds: Rounds) -> str:
    """Rates and cost of each peer, and the first peer's ratios to the others round by round.

    The ceiling, where it was measured, has a row in both and a sentence that says what it is.
    """
    peers = [one.peer for one in rounds[0]]
    by_peer = _by_peer(rounds)
    figures = _rates(by_peer)
    if len(peers) == 1:
        return figures
    note = f"\n\n{_CEILING}" if ceiling.NAME in by_peer else ""
    return f"{figures}\n\n{_ratios(peers[0], by_peer)}{note}"


def flink(rounds: Rounds) -> str:
    """Rates and cost with each number of shards, and whose the cost is."""
    return f"{_rates(_by_peer(rounds))}\n\n{_FLINK}"


def brokers(rounds: Sequence[Sequence[Delivered]]) -> str:
    """Rates and cost of each broker in each scenario, and our own's ratios with its store to the
    others, round by round.
    """
    columns = list(zip(*rounds, strict=True))
    figures = table(
        ["scenario", "broker", "messages a second", "CPU s per 10,000", "p50 ms", "p99 ms", "lost"],
        [
            [
                str(runs[0].scenario),
                runs[0].broker.value,
                spread([one.messages_a_second for one in runs], "{:,.0f}"),
                spread([one.cpu_seconds for one in runs], "{:.2f}"),
                _spread_of_known([one.p50_ms for one in runs]),
                _spread_of_known([one.p99_ms for one in runs]),
                str(sum(one.lost for one in runs)),
            ]
            for runs in columns
        ],
    )
    ratios = [
        [
            str(theirs[0].scenario),
            theirs[0].broker.value,
            spread(
                [
                    mine.messages_a_second / other.messages_a_second
                    for mine, other in zip(ours, theirs, strict=True)
                ],
                "{:.2f}",
            ),
        ]
        for ours in columns
        for theirs in columns
        if ours[0].broker is BrokerKind.OWN_STORED
        and theirs[0].broker is not BrokerKind.OWN_STORED
        and ours[0].scenario == theirs[0].scenario
        and ours[0].scenario.rate is None
    ]
    compared = table(["scenario", f"{BrokerKind.OWN_STORED.value} to", "messages a second"], ratios)
    return f"{figures}\n\n{compared}"


def _by_peer(rounds: Rounds) -> dict[str, list[Throughput]]:
    peers = [one.peer for one in rounds[0]]
    return {peer: [each[place] for each in rounds] for place, peer in enumerate(peers)}


def _rates(by_peer: dict[str, list[Throughput]]) -> str:
    return table(
        ["peer", "messages a second", "CPU s per 10,000", "longest pause s", "lost", "duplicates"],
        [
            [
                peer,
                spread([one.messages_a_second for one in runs], "{:,.0f}"),
                _spread_of_known([one.cpu_seconds for one in runs]),
                f"{max(one.longest_pause_seconds for one in runs):.2f}",
                str(sum(one.lost for one in runs)),
                str(sum(one.duplicates for one in runs)),
            ]
            for peer, runs in by_peer.items()
        ],
    )


def _ratios(ours: str, by_peer: dict[str, list[Throughput]]) -> str:
    def ratio(other: str, of: Callable[[Throughput], float | None]) -> str:
        pairs = [
            (of(mine), of(theirs))
            for mine, theirs in zip(by_peer[ours], by_peer[other], strict=True)
        ]
        return _spread_of_known(
            [None if mine is None or not theirs else mine / theirs for mine, theirs in pairs]
        )

    return table(
        [f"{ours} to", "messages a second", "CPU a message"],
        [
            [
                other,
                ratio(other, lambda one: one.messages_a_second),
                ratio(other, lambda one: one.cpu_seconds),
            ]
            for other in by_peer
            if other != ours
        ],
    )


def latency(rounds: Sequence[Sequence[Latency]]) -> str:
    """Percentiles of each peer."""
    columns = list(zip(*rounds, strict=True))
    return table(
        ["peer", "p50 ms", "p99 ms", "maximum ms", "cores", "lost", "duplicates"],
        [
            [
                runs[0].peer,
                spread([one.p50_ms for one in runs], "{:.1f}"),
                spread([one.p99_ms for one in runs], "{:.1f}"),
                spread([one.maximum_ms for one in runs], "{:.0f}"),
                spread([one.cores for one in runs], "{:.2f}"),
                str(sum(one.lost for one in runs)),
                str(sum(one.duplicates for one in runs)),
            ]
            for runs in columns
        ],
    )


def soak(runs: Sequence[Soak]) -> str:
    """Memory of each process, and what was lost."""
    memory = table(
        ["peer", "process", "first MB", "last MB", "maximum MB", "MB a minute"],
        [
            [
                run.peer,
                one.process,
                f"{one.first_megabytes:.0f}",
                f"{one.last_megabytes:.0f}",
                f"{one.maximum_megabytes:.0f}",
                f"{one.slope_megabytes_a_minute:+.2f}",
            ]
            for run in runs
            for one in run.memory
        ],
    )
    carried = table(
        ["peer", "messages", "lost", "duplicates"],
        [[run.peer, f"{run.messages:,}", str(run.lost), str(run.duplicates)] for run in runs],
    )
    return f"{memory}\n\n{carried}"


def machine(broker: BrokerKind) -> str:
    """Cores, processor and versions."""
    rows = [
        ["cores", str(os.cpu_count())],
        ["processor", _processor()],
        ["system", f"{platform.system()} {platform.release()}"],
        ["load average at the start", load_average()],
        ["Python", platform.python_version()],
        *([name, metadata.version(name)] for name in _PACKAGES),
        ["broker", describe(broker)],
        ["Benthos", benthos.VERSION],
    ]
    return table(["", ""], rows)


def load_average() -> str:
    """What else the machine does: of the last 1, 5 and 15 minutes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", described.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def write(section: str, body: str, *, path: Path = RESULTS) -> None:
    """Puts ``body`` between the marks of ``section``; what a person wrote outside them stays."""
    text = path.read_text() if path.exists() else _skeleton()
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    if begin not in text:
        text += _empty(section)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{body}\n{end}{after}")


def _skeleton() -> str:
    return _INTRODUCTION + "".join(_empty(section) for section in SECTIONS)


def _empty(section: str) -> str:
    return (
        f"\n## {SECTIONS[section]}\n\n<!-- {section} -->\nNot measured yet.\n<!-- /{section} -->\n"
    )
