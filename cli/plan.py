"""`mqttbeam plan`: how many brokers, shards and workers, which quotas, and what it costs."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, asdict, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.local import fail
from cli.output import say

if TYPE_CHECKING:
    from templates.capacity import Fleet, Measured, Plan

_RESULTS = Path(__file__).parent.parent / "bench" / "RESULTS.md"
_OPTIONS = {
    "devices": "--devices",
    "messages_per_second": "--rate",
    "payload_bytes": "--bytes",
    "peak_factor": "--peak",
    "commands_per_device_per_day": "--commands",
    "retention_days": "--retention",
    "subscriptions": "--subscriptions",
}
_WRONG = 2
_EXCEEDED = 1


def plan(
    devices: Annotated[int, typer.Option(help="Devices connected at once.", show_default=False)],
    rate: Annotated[
        float | None,
        typer.Option(help="Messages a second of all devices together, as a mean over the day."),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="In place of --rate: seconds between two messages of a device.", show_default="60"
        ),
    ] = None,
    payload_bytes: Annotated[int, typer.Option("--bytes", help="Payload of a message.")] = 200,
    peak: Annotated[float, typer.Option(help="The busiest minute to the mean.")] = 2.0,
    commands: Annotated[float, typer.Option(help="Commands to a device a day.")] = 1.0,
    retention: Annotated[float, typer.Option(help="Days that rows are kept.")] = 90.0,
    subscriptions: Annotated[
        int, typer.Option(help="Subscriptions of the telemetry topic: the archive is one more.")
    ] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another value for an assumption, price or quota, by its name; may be repeated.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="What your own bench wrote, in place of this project's.",
            show_default="bench/RESULTS.md",
        ),
    ] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Print where each assumption comes from.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Plan a fleet: brokers, shards, workers, Pub/Sub, BigQuery, quotas and cost.

    What is assumed, measured and not known is printed too. Exit status: 0; 1 if a quota would be
    exceeded; 2 if an option is wrong.

    Examples:

      mqttbeam plan --devices 100000

      mqttbeam plan --devices 5000 --rate 2000 --bytes 350 --subscriptions 2

      mqttbeam plan --devices 1000000 --interval 30 --set vcpu_speed=0.7 --set headroom=0.5

      mqttbeam plan --devices 10000 --set broker_node_month=250 --json
    """
    from templates import capacity

    if rate is not None and interval is not None:
        fail("--rate and --interval: expected one of the two", status=_WRONG)
    if interval is not None and not 0 < interval < math.inf:
        fail(f"--interval is {_given(interval)}: expected seconds, more than 0", status=_WRONG)
    try:
        given = _changes(changes or [])
        measured = _measured(results, given)
        fleet = capacity.Fleet(
            devices=devices,
            messages_per_second=1.0 if rate is None else rate,
            payload_bytes=payload_bytes,
            peak_factor=peak,
            commands_per_device_per_day=commands,
            retention_days=retention,
            subscriptions=subscriptions,
        )
        if rate is None:
            # By now the devices are known to be a number that can be divided.
            fleet = _each(fleet, interval_seconds=60.0 if interval is None else interval)
        machines = capacity.Machines(**_of(given, capacity.Machines))
        prices = capacity.Prices(**_of(given, capacity.Prices))
        quotas = capacity.Quotas(**_of(given, capacity.Quotas))
        planned = capacity.plan(fleet, measured, machines=machines, prices=prices, quotas=quotas)
    except capacity.InvalidAssumption as error:
        option = _OPTIONS.get(error.name, f"--set {error.name}")
        fail(f"{option} is {_given(error.value)}: expected {error.expected}", status=_WRONG)
    except capacity.CapacityError as error:
        fail(str(error), status=_WRONG)
    if as_json:
        say(
            json.dumps(
                _as_json(planned, (measured, machines, prices, quotas)), indent=2, allow_nan=False
            )
        )
    else:
        for line in _words(planned, (measured, machines, prices, quotas), sources=sources):
            say(line)
    raise typer.Exit(_EXCEEDED if any(each.exceeded for each in planned.quotas) else 0)


def _each(fleet: "Fleet", *, interval_seconds: float) -> "Fleet":
    """The fleet with a message from each device in so many seconds."""
    from templates.capacity import InvalidAssumption

    try:
        return replace(fleet, messages_per_second=fleet.devices / interval_seconds)
    except InvalidAssumption as error:
        fail(
            f"--interval is {_given(interval_seconds)}: of all devices that is "
            f"{_given(error.value)} messages a second, expected {error.expected}",
            status=_WRONG,
        )


def _given(value: float) -> str:
    """A number as it is given: a whole one with all of its digits."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _adjustable() -> dict[str, "Field[Any]"]:
    """What `--set` takes: every field but those that have an option of their own."""
    from templates.capacity import Machines, Measured, Prices, Quotas

    kinds = (Machines, Measured, Prices, Quotas)
    return {item.name: item for kind in kinds for item in fields(kind)}


def _changes(changes: list[str]) -> dict[str, float]:
    """Read `NAME=VALUE`; a wrong one ends the program."""
    known = _adjustable()
    given: dict[str, float] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            fail(f"--set {change}: expected NAME=VALUE, such as headroom=0.5", status=_WRONG)
        if name in _OPTIONS:
            fail(f"--set {name}: it has an option of its own, {_OPTIONS[name]}", status=_WRONG)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            fail(f"--set {name}: there is no such assumption; {hint}", status=_WRONG)
        if name in given:
            fail(f"--set {name} is given twice", status=_WRONG)
        whole = known[name].type is int
        try:
            given[name] = int(text) if whole else float(text)
        except ValueError:
            kind = "a whole number" if whole else "a number"
            fail(f"--set {name} is {text!r}: expected {kind}", status=_WRONG)
    return given


def _of(given: Mapping[str, float], kind: Any) -> dict[str, Any]:
    """Those of the changes that are fields of a kind."""
    return {item.name: given[item.name] for item in fields(kind) if item.name in given}


def _measured(results: Path | None, given: Mapping[str, float]) -> "Measured":
    from templates.capacity import Measured, measured_from

    page = "bench/RESULTS.md" if results is None else f"--results {results}"
    try:
        text = (results or _RESULTS).read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{page}: {error.strerror}; it is what `make bench` writes", status=_WRONG)
    except UnicodeDecodeError:
        fail(f"{page}: no text in UTF-8; it is what `make bench` writes", status=_WRONG)
    return replace(measured_from(text, page=page), **_of(given, Measured))


def _words(planned: "Plan", used: tuple[Any, ...], *, sources: bool) -> Iterator[str]:
    from templates.capacity import tables
    from templates.capacity.plan import UNKNOWN
    from templates.capacity.prices import READ, REGION

    fleet = planned.fleet
    yield (
        f"{fleet.devices:,} devices, {tables.number(fleet.messages_per_second)} messages a second "
        f"({tables.number(fleet.peak_messages_per_second)} at the peak), "
        f"{fleet.payload_bytes} bytes each"
    )
    yield "\nNeeded at the peak"
    yield from _aligned(tables.needs(planned))
    yield "\nOf the project's quotas"
    yield from _aligned([(each.name, tables.use(each)) for each in planned.quotas])
    yield f"\nDollars a month (list prices of {REGION}, read on {READ})"
    yield from _aligned([(thing, tables.dollars(value)) for thing, value in tables.costs(planned)])
    yield "\nAssumed and measured (an option, or --set NAME=VALUE, changes it)"
    yield from _aligned(
        [
            (_OPTIONS.get(name, name), tables.exact(value), about, _plain(source) * sources)
            for values in (fleet, *used)
            for name, value, about, source in tables.assumptions(values)
        ]
    )
    if not sources:
        yield "  where each comes from: --sources"
    yield "\nNot known"
    yield from (f"  - {each}" for each in UNKNOWN)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns; numbers, which stand second, to the right."""
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows) if len(rows[0]) > 2 else 0
    third = max(len(row[2]) for row in rows) if len(rows[0]) > 3 else 0
    for row in rows:
        line = f"  {row[0]:<{first}}  {row[1]:>{second}}"
        line += "".join(f"  {cell:<{third}}" for cell in row[2:])
        yield line.rstrip()


def _plain(text: str) -> str:
    """A source without Markdown: `[name](address)` becomes name, address."""
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"\1, \2", text).replace("`", "")


def _as_json(planned: "Plan", used: tuple[Any, ...]) -> dict[str, Any]:
    from templates.capacity import tables
    from templates.capacity.plan import UNKNOWN
    from templates.capacity.prices import READ, REGION

    told = asdict(planned)
    told["quotas"] = [
        {**asdict(each), "share": each.share, "exceeded": each.exceeded} for each in planned.quotas
    ]
    told["cost"]["total"] = planned.cost.total
    told["assumed"] = {name: value for values in used for name, value in asdict(values).items()}
    told["sources"] = {
        name: _plain(source) for values in used for name, _, _, source in tables.assumptions(values)
    }
    told["prices"] = {"region": REGION, "read": READ, "currency": "USD", "period": "30 days"}
    told["unknown"] = list(UNKNOWN)
    return told
