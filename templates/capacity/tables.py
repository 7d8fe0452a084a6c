"""A plan as rows of words, and the tables of docs/capacity.md as Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from templates.capacity.fleet import Fleet, Machines
from templates.capacity.measured import Measured
from templates.capacity.plan import UNKNOWN, Plan, Use, plan
from templates.capacity.prices import READ, REGION, Prices, Quotas

FLEETS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
INTERVAL_SECONDS = 60.0
"""The page's fleets: one message a minute from each device."""


def typical_fleet(devices: int) -> Fleet:
    """A fleet of the page: a message a minute from each device, all else as assumed."""
    return Fleet(devices=devices, messages_per_second=devices / INTERVAL_SECONDS)


def number(value: float) -> str:
    """A number as people read it: thousands parted, small ones with their digits."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def exact(value: float | None) -> str:
    """A value with all of its digits; a dash where there is none."""
    return "-" if value is None else f"{value:,.7f}".rstrip("0").rstrip(".")


def needs(planned: Plan) -> list[tuple[str, str, str]]:
    """What is needed: the thing, how many, and why so many."""
    fleet = planned.fleet
    clusters = planned.broker_clusters
    return [
        (
            "broker nodes",
            number(planned.broker_nodes),
            f"in {_count(clusters, 'cluster')}, with one to lose",
        ),
        (
            "telemetry shards",
            number(planned.shards),
            f"{number(planned.shard_messages_per_second)} messages a second each, "
            f"bound by the {planned.bound}",
        ),
        (
            "telemetry workers",
            number(planned.telemetry_workers),
            f"in {_count(planned.telemetry_jobs, 'job')}, one for each cluster",
        ),
        (
            "warehouse workers",
            number(planned.warehouse_workers),
            f"{number(planned.append_connections)} AppendRows connections",
        ),
        (
            "command workers",
            number(planned.command_workers),
            f"{number(fleet.commands_per_second)} commands a second",
        ),
        (
            "Pub/Sub, TiB a month",
            number(planned.pubsub_tib_month),
            f"{planned.message_bytes} bytes a message with its attributes",
        ),
        (
            "BigQuery, TiB a month",
            number(planned.rows_tib_month),
            f"{planned.row_bytes} bytes a row",
        ),
        (
            "BigQuery, TiB kept",
            number(planned.stored_tib),
            f"for {number(fleet.retention_days)} days",
        ),
    ]


def costs(planned: Plan) -> list[tuple[str, float | None]]:
    """Dollars a month by what is paid for, with the sum of what is known at the end."""
    cost = planned.cost
    return [
        ("Dataflow workers", cost.workers),
        ("Streaming Engine", cost.streaming_engine),
        ("Pub/Sub", cost.pubsub),
        ("BigQuery writes", cost.bigquery_writes),
        ("BigQuery storage", cost.bigquery_storage),
        ("broker nodes", cost.brokers),
        ("together", cost.total),
    ]


def use(taken: Use) -> str:
    """A share of a quota in words."""
    limit = f"{number(taken.limit)} {taken.unit}".rstrip()
    said = f"{number(taken.used)} of {limit}, {taken.share:.0%}"
    return f"{said}: ask for more" if taken.exceeded else said


def assumptions(values: Any) -> list[tuple[str, float | None, str, str]]:
    """Name, value, meaning and source of every field of a Fleet, Machines, Prices, …"""
    return [
        (
            item.name,
            getattr(values, item.name),
            item.metadata["about"],
            item.metadata.get("source", ""),
        )
        for item in fields(values)
    ]


def page_table(name: str, measured: Measured) -> str:
    """The Markdown of a table of the capacity page. Raises KeyError for a wrong name."""
    return _TABLES[name](measured)


def _plans(measured: Measured) -> list[Plan]:
    return [plan(typical_fleet(devices), measured) for devices in FLEETS]


def _fleets(measured: Measured) -> str:
    plans = _plans(measured)
    columns = [[value for _, value, _ in needs(planned)] for planned in plans]
    rows = [
        ["messages a second, mean", *(number(each.fleet.messages_per_second) for each in plans)],
        ["at the peak", *(number(each.fleet.peak_messages_per_second) for each in plans)],
        ["broker clusters", *(number(each.broker_clusters) for each in plans)],
    ]
    rows += [
        [thing, *(column[place] for column in columns)]
        for place, (thing, _, _) in enumerate(needs(plans[0]))
    ]
    return _markdown(["devices", *(number(devices) for devices in FLEETS)], rows)


def _quotas(measured: Measured) -> str:
    plans = _plans(measured)
    rows = [
        [taken.name, *(f"{each.quotas[place].share:.1%}" for each in plans)]
        for place, taken in enumerate(plans[0].quotas)
    ]
    return _markdown(["devices", *(number(devices) for devices in FLEETS)], rows)


def _costs(measured: Measured) -> str:
    plans = _plans(measured)
    columns = [costs(planned) for planned in plans]
    rows = [
        [thing, *(dollars(column[place][1]) for column in columns)]
        for place, (thing, _) in enumerate(columns[0])
    ]
    each = [f"{planned.cost.total / planned.fleet.devices:.4f}" for planned in plans]
    rows.append(["a device", *each])
    return _markdown(["dollars a month", *(number(devices) for devices in FLEETS)], rows)


def dollars(value: float | None) -> str:
    """An amount, or that there is none."""
    return "not priced" if value is None else f"{value:,.0f}"


def _assumed(values: Any, *, only_defaults: bool = False) -> str:
    rows = [
        [f"`{name}`", about, exact(value), source]
        for name, value, about, source in assumptions(values)
        if not (only_defaults and source == "given")
    ]
    return _markdown(["name", "", "value", "source"], rows, right=(2,))


def _markdown(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] | None = None
) -> str:
    turned = right if right is not None else range(1, len(heads))
    rule = ["---:" if place in turned else "---" for place in range(len(heads))]
    lines = [" | ".join(heads), " | ".join(rule), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _count(many: int, thing: str) -> str:
    return f"{many} {thing}" if many == 1 else f"{many} {thing}s"


_TABLES: Mapping[str, Callable[[Measured], str]] = {
    "fleets": _fleets,
    "quotas": _quotas,
    "costs": _costs,
    "measured": _assumed,
    "fleet": lambda _: _assumed(typical_fleet(FLEETS[0]), only_defaults=True),
    "machines": lambda _: _assumed(Machines()),
    "prices": lambda _: f"Region {REGION}, read on {READ}.\n\n{_assumed(Prices())}",
    "unknown": lambda _: "".join(f"- {each}\n" for each in UNKNOWN),
    "limits": lambda _: f"Read on {READ}.\n\n{_assumed(Quotas())}",
}
