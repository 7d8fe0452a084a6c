"""`mqttbeam broker status`, `clients`, `kick`, `retained`: a running broker is asked."""

import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.local import fail
from cli.output import say

_WRONG = 2
_WIDER_THAN_ANY_ROW = 10_000

BROKER = typer.Argument(
    help="The broker's YAML file, or its administration socket.",
    metavar="CONFIG|SOCKET",
    show_default=False,
)
JSON = typer.Option("--json", help="Print JSON, one object a line.")

STATUS_EXAMPLE = "Example:  mqttbeam broker status broker.yaml"
CLIENTS_EXAMPLE = "Example:  mqttbeam broker clients broker.yaml --sort queued --limit 10"
KICK_EXAMPLE = "Example:  mqttbeam broker kick broker.yaml meter-7"
LIST_EXAMPLE = "Example:  mqttbeam broker retained list broker.yaml --filter 'devices/+/config'"
SHOW_EXAMPLE = "Example:  mqttbeam broker retained show broker.yaml devices/meter-7/config"
DELETE_EXAMPLE = "Example:  mqttbeam broker retained delete broker.yaml devices/meter-7/config"


class Order(StrEnum):
    """What `clients` sorts by: a column's title."""

    CLIENT = "client"
    QUEUED = "queued"
    UNACKED = "unacked"
    BYTES = "bytes"
    OLDEST = "oldest"


retained_app = typer.Typer(no_args_is_help=True, help="Retained messages of a running broker.")


def status(broker: Annotated[Path, BROKER], as_json: Annotated[bool, JSON] = False) -> None:
    """Show what a running broker serves, holds and has counted since its start."""
    (told,) = _asked(broker, "status")
    if as_json:
        say(json.dumps(told))
        return
    counters = told.pop("counters")
    told["listeners"] = " ".join(told["listeners"])
    told["store"] = told["store"] or "none: in memory alone"
    told["uptime"] = _span(told.pop("uptime_seconds"))
    for name, value in {**told, **counters}.items():
        say(f"{name.replace('_', ' ')}: {value}")


def clients(
    broker: Annotated[Path, BROKER],
    client_id: Annotated[
        str | None,
        typer.Argument(
            help="One client, with its subscriptions.", metavar="CLIENT_ID", show_default="all"
        ),
    ] = None,
    match: Annotated[
        str, typer.Option(help="Only client ids of this form; * stands for any text.")
    ] = "*",
    sort: Annotated[
        Order, typer.Option(help="By client id, or those with the most of something first.")
    ] = Order.CLIENT,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show so many.", show_default="all")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show the sessions of a running broker, connected or away, and what waits for each.

    Oldest: how long ago the oldest message came that it has not
    acknowledged.
    """
    if client_id is None:
        *rows, _ = _asked(broker, "clients", match=match)
        rows.sort(key=lambda row: row["client_id"])
        if sort is not Order.CLIENT:
            rows.sort(key=lambda row: row[_CLIENT_COLUMNS[sort.value]] or 0, reverse=True)
        _show(rows[:limit], _CLIENT_COLUMNS, as_json=as_json)
        return
    *subscriptions, told = _asked(broker, "client", client_id=client_id)
    if as_json:
        say(json.dumps({**told, "subscriptions": subscriptions}))
        return
    _show([told], _CLIENT_COLUMNS, as_json=False)
    _show(subscriptions, _SUBSCRIPTION_COLUMNS, as_json=False)


def kick(
    broker: Annotated[Path, BROKER],
    client_id: Annotated[
        str, typer.Argument(help="Whom.", metavar="CLIENT_ID", show_default=False)
    ],
    forget: Annotated[
        bool,
        typer.Option("--forget", help="End its session, too: what waits for it is dropped."),
    ] = False,
) -> None:
    """Close a client's connection (0x98, administrative action). It may come again at once.

    To keep it out, block it in the registry.
    """
    (told,) = _asked(broker, "kick", client_id=client_id, forget=forget)
    here = "disconnected" if told["was_connected"] else "was not connected"
    say(f"{client_id}: {here}{', its session is gone' if forget else ''}")


@retained_app.command("list", epilog=LIST_EXAMPLE)
def retained_list(
    broker: Annotated[Path, BROKER],
    topic_filter: Annotated[
        str,
        typer.Option("--filter", help="A topic filter; # leaves out $SYS/#."),
    ] = "#",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show which topics have a retained message."""
    *rows, _ = _asked(broker, "retained", filter=topic_filter)
    rows.sort(key=lambda row: row["topic"])
    _show(rows, _RETAINED_COLUMNS, as_json=as_json)


@retained_app.command("show", epilog=SHOW_EXAMPLE)
def retained_show(
    broker: Annotated[Path, BROKER],
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a topic's retained message."""
    from cli.show import readable

    (told,) = _asked(broker, "retained-show", topic=topic)
    say(json.dumps(told) if as_json else readable(base64.b64decode(told["payload"])))


@retained_app.command("delete", epilog=DELETE_EXAMPLE)
def retained_delete(
    broker: Annotated[Path, BROKER],
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False)],
) -> None:
    """Delete a topic's retained message; who has got it is told nothing."""
    list(_asked(broker, "retained-delete", topic=topic))


def socket_of(broker: Path) -> Path | None:
    """The administration socket that is named, itself or by a configuration, if one is."""
    from broker.config_file import load_config
    from broker.errors import ConfigError

    if broker.is_socket():
        return broker
    try:
        return load_config(broker).administration_socket
    except ConfigError as error:
        fail(str(error), status=_WRONG)


def _asked(broker: Path, request: str, **arguments: Any) -> list[dict[str, Any]]:
    """The rows of an answer, and as the last what it ends with."""
    from broker.errors import AdministrationError
    from broker.server.asking import ask

    path = socket_of(broker)
    if path is None:
        example = "`administration: {socket: broker.sock}`"
        fail(f"{broker} configures no administration; give {example}", status=_WRONG)
    try:
        return list(ask(path, request, **arguments))
    except AdministrationError as error:
        fail(str(error))


_CLIENT_COLUMNS = {
    "client": "client_id",
    "owner": "owner",
    "from": "peer",
    "MQTT": "protocol",
    "filters": "subscriptions",
    "queued": "queued",
    "unacked": "unacknowledged",
    "bytes": "held_bytes",
    "oldest": "oldest_seconds",
}
_SUBSCRIPTION_COLUMNS = {
    "filter": "topic_filter",
    "QoS": "qos",
    "id": "identifier",
    "waiting": "waiting",
}
_RETAINED_COLUMNS = {
    "topic": "topic",
    "QoS": "qos",
    "bytes": "payload_bytes",
    "from": "publisher",
    "expires in": "expires_seconds",
}


def _show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            say(json.dumps(row))
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, caption=f"{len(rows)} row{'' if len(rows) == 1 else 's'}")
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, columns))
    # Whoever reads it by a program gets one line a row.
    console = Console(width=None if sys.stdout.isatty() else _WIDER_THAN_ANY_ROW)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n"))


def _cells(row: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Any]:
    from rich.text import Text

    from cli.show import readable

    for name in columns.values():
        value = row[name]
        if value is not None and name.endswith("_seconds"):
            value = _span(value)
        yield Text("" if value is None else readable(str(value).encode()))


def _span(seconds: float) -> str:
    """A time in its largest unit, such as 12 s or 3.5 h."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
