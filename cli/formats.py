"""`mqttbeam devices formats`: passwords for other brokers, in the formats of those."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.local import fail
from cli.output import say
from cli.registry import DEFAULT_REGISTRY, EXPORTED, JSON, REGISTRY, WRONG, registry, show_rows

if TYPE_CHECKING:
    from broker.auth.password_formats import PasswordFormat
    from broker.registry.exporting import PasswordFile

ADD_EXAMPLE = """Examples:

\b
  mqttbeam devices formats add mosquitto
  mqttbeam devices formats add mosquitto --accept-cost
"""
REMOVE_EXAMPLE = "Example:  mqttbeam devices formats remove mosquitto"
EXPORT_EXAMPLE = """Examples:

\b
  mqttbeam devices formats export mosquitto
  mqttbeam devices formats export mosquitto passwords.mosquitto
"""

_TOLD_AT_ONCE = 10

FORMAT = typer.Argument(
    help="The broker whose format it is: mosquitto.", metavar="FORMAT", show_default=False
)

app = typer.Typer(no_args_is_help=True, help="Passwords for other brokers, in their formats.")


@app.callback()
def formats() -> None:
    """In which formats of other brokers passwords are hashed, beside argon2id.

    None, unless you choose one: whoever gets the registry attacks the weaker hash.
    """


@app.command("add", epilog=ADD_EXAMPLE)
def add(
    name: Annotated[str, FORMAT],
    accept_cost: Annotated[
        bool, typer.Option("--accept-cost", help="You know what it costs, and want it.")
    ] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Hash each password that is set from now on in the format of another broker, too.

    Says what that costs, as measured here, and does it only with --accept-cost. Passwords that are
    there get no such hash until they are set anew: `devices rotate`.
    """
    from broker.auth.password_formats import told_cost

    chosen = _known(name)
    typer.echo(told_cost(chosen), err=True)
    if not accept_cost:
        fail(f"{name}: nothing is changed; with --accept-cost it is chosen")
    with registry(url, makes=True) as opened:
        if not opened.choose_password_format(name):
            fail(f"{name} is chosen already")
        passwords, hashed = opened.count_passwords(time.time())
    missing = passwords - hashed.get(name, 0)
    say(f"{name}: chosen; {missing} passwords have no such hash until they are set anew")


@app.command("remove", epilog=REMOVE_EXAMPLE)
def remove(name: Annotated[str, FORMAT], url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY) -> None:
    """Hash no more passwords in a format, and remove all hashes in it.

    Copies of the registry and files that were exported still have them.
    """
    with registry(url) as opened:
        removed = opened.drop_password_format(name)
    if removed is None:
        _not_chosen(name)
    say(
        f"{name}: not chosen any more, {removed} hashes are removed; copies of the registry still"
        " have them"
    )


@app.command("list")
def list_(
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show all formats, which are chosen, and how many passwords have no hash in them yet.

    Passwords that have expired don't count.
    """
    from broker.auth.password_formats import FORMATS

    with registry(url) as opened:
        chosen = opened.password_formats()
        passwords, hashed = opened.count_passwords(time.time())
    rows = [
        {
            "format": name,
            "chosen": name in chosen,
            "passwords": hashed.get(name, 0),
            "without": passwords - hashed.get(name, 0),
        }
        for name in sorted(FORMATS.keys() | chosen)
    ]
    show_rows(rows, as_json=as_json)


@app.command("export", epilog=EXPORT_EXAMPLE)
def export(
    name: Annotated[str, FORMAT],
    file: Annotated[Path | None, EXPORTED] = None,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Write the passwords that hold now as another broker's file of them (`password_file`).

    Who is blocked is not in it. It is as of now: write it anew after each change, and when a
    password begins or ends. Rights are not in it.
    """
    from broker.registry.exporting import password_file
    from broker.registry.yaml_writing import write_private

    chosen = _known(name)
    with registry(url) as opened:
        content = opened.content()
    if name not in content.password_formats:
        _not_chosen(name)
    made = password_file(chosen, content.entries.values(), time.time())
    if file is None or str(file) == "-":
        if made.text:
            say(made.text.rstrip("\n"))
    else:
        try:
            write_private(file, made.text)
        except OSError as error:
            fail(f"{file} can't be written: {error.strerror}")
        say(f"{file}: {len(made.names)} devices and services")
    _warn(name, made)


def _known(name: str) -> "PasswordFormat":
    from broker.auth.password_formats import format_named

    try:
        return format_named(name)
    except ValueError as error:
        fail(f"FORMAT {error}", status=WRONG)


def _not_chosen(name: str) -> NoReturn:
    fail(f"{name} is not chosen; `mqttbeam devices formats list` shows which are")


def _warn(name: str, made: "PasswordFile") -> None:
    """Say what the file can't."""
    from schemas.times import format_time

    told = []
    if made.several:
        pairs = (f"{owner} ({identifier})" for owner, identifier in made.several.items())
        told.append(f"{name} takes one password each, so that it has the newest of {_some(pairs)}")
    if made.without:
        told.append(
            f"set before {name} was chosen, and so not there until they are set anew: the passwords"
            f" of {_some(made.without)}"
        )
    for owner, reason in list(made.unfit.items())[:_TOLD_AT_ONCE]:
        told.append(f"{owner} is not there: {reason}")
    if made.ends is not None:
        end = format_time(datetime.fromtimestamp(made.ends, UTC))
        told.append(f"a password ends at {end}, which {name} does not know: export again then")
    for line in told:
        typer.echo(f"warning: {line}", err=True)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = len(found) - _TOLD_AT_ONCE
    return ", ".join(found[:_TOLD_AT_ONCE]) + (f" and {more} more" if more > 0 else "")
