"""`mqttbeam devices`: who may connect to the brokers on a registry in a database."""

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import authorities, credentials, formats
from cli.credentials import PASSWORD_FILE, Kind, make, read_password
from cli.local import fail
from cli.output import say
from cli.registry import (
    DEFAULT_REGISTRY,
    EXPORTED,
    JSON,
    NAME,
    OUT,
    REGISTRY,
    WRONG,
    credential_values,
    entry_values,
    event_values,
    hand_over,
    known,
    presence_values,
    registry,
    show_rows,
    written,
)

if TYPE_CHECKING:
    from broker.registry.changes import Counts
    from broker.registry.entries import Content, Entry

ADD_EXAMPLE = """Examples:

\b
  mqttbeam devices add meter-7
  mqttbeam devices add meter-8 --credential es256 --out secrets --metadata '{"site": "north"}'
  mqttbeam devices add meter-9 --gateway gateway-1 --credential none
  mqttbeam devices add warehouse --service --role telemetry-pipeline --client-id-prefix warehouse-
"""
EVENTS_EXAMPLE = "Example:  mqttbeam devices events meter-7 --limit 10"
SET_EXAMPLE = "Example:  mqttbeam devices set meter-7 --role meter --gateway gateway-1"
IMPORT_EXAMPLE = """Examples:

\b
  mqttbeam devices import registry.yaml
  mqttbeam devices import registry.yaml --instead
"""
EXPORT_EXAMPLE = "Example:  mqttbeam devices export registry.yaml"

app = typer.Typer(
    no_args_is_help=True,
    help="Devices and services that may connect, in a registry that is a database.",
)
app.add_typer(credentials.app, name="credentials")
app.add_typer(authorities.app, name="authorities")
app.add_typer(formats.app, name="formats")
app.command("rotate", epilog=credentials.ROTATE_EXAMPLE)(credentials.rotate)

ROLE = typer.Option(help="What it may do: a standard role, or one of the registry.")
METADATA = typer.Option(metavar="JSON", help="An object, for people and programs.")
GATEWAY = typer.Option(help="A device that may speak for it; may be given several times.")


@app.command("add", epilog=ADD_EXAMPLE)
def add(
    name: Annotated[str, NAME],
    role: Annotated[str | None, ROLE] = None,
    service: Annotated[
        bool, typer.Option("--service", help="A pipeline or back end, with many client ids.")
    ] = False,
    client_id_prefix: Annotated[
        str | None, typer.Option(help="A service's: all client ids under it are its own.")
    ] = None,
    metadata: Annotated[str, METADATA] = "{}",
    gateway: Annotated[list[str] | None, GATEWAY] = None,
    credential: Annotated[
        str, typer.Option(help="password, scram, rs256, es256, certificate or none.")
    ] = "password",
    password_file: Annotated[str | None, PASSWORD_FILE] = None,
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Add a device or, with --service, a service, and make its first credential.

    What is secret is shown once, or written to files of mode 0600 with --out.
    """
    from broker.auth.identity import Validity
    from broker.auth.principal import PrincipalKind
    from broker.registry.entries import Entry

    if service and role is None:
        fail("--service needs --role, such as telemetry-pipeline", status=WRONG)
    if service and client_id_prefix is None:
        fail(f"--service needs --client-id-prefix, such as {name}-", status=WRONG)
    if credential not in (*Kind, "none"):
        fail(f"--credential {credential}: choose from {', '.join((*Kind, 'none'))}", status=WRONG)
    try:
        entry = Entry(
            name=name,
            kind=PrincipalKind.SERVICE if service else PrincipalKind.DEVICE,
            role=role or "device",
            client_id_prefix=client_id_prefix,
            metadata=_object(metadata),
            gateways=tuple(gateway or ()),
        )
    except ValueError as error:
        fail(str(error), status=WRONG)
    kind = None if credential == "none" else Kind(credential)
    password = None if kind is None else read_password(kind, password_file)
    issued = None

    def change(there: "Entry | None") -> "Entry":
        if there is not None:
            fail(f"{there.kind.value} {name!r} is there already")
        return entry if issued is None else replace(entry, credentials=(issued.credential,))

    with registry(url, makes=True) as opened:
        if kind is not None:
            hashed = opened.password_formats()
            issued = make(kind, name, Validity(), password, formats=hashed)
        with written(issued, out):
            opened.edit(name, change)
    if issued is not None:
        hand_over(issued, name, out=out, as_json=as_json)
    else:
        say(json.dumps(entry_values(entry)) if as_json else f"{name}: added, without a credential")


@app.command("list")
def list_(
    match: Annotated[
        str, typer.Option(help="Only names of this form; * stands for any text.")
    ] = "*",
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show all devices and services."""
    with registry(url) as opened:
        entries = opened.entries()
    found = [entries[name] for name in sorted(entries) if fnmatchcase(name, match)]
    if as_json:
        show_rows([_all_of(entry) for entry in found], as_json=True)
        return
    rows = [entry_values(entry) | {"credentials": len(entry.credentials)} for entry in found]
    show_rows(rows, as_json=False)


@app.command("show")
def show(
    name: Annotated[str, NAME],
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show a device or service, its credentials, and when it was seen last.

    Who is connected is seen once a minute.
    """
    with registry(url) as opened:
        entry = known(opened.entry(name), name)
        presence = presence_values(opened.presence(name))
    if as_json:
        say(json.dumps(_all_of(entry) | presence, ensure_ascii=False))
        return
    show_rows([entry_values(entry)], as_json=False)
    show_rows([credential_values(each) for each in entry.credentials], as_json=False)
    show_rows([presence], as_json=False)


@app.command("events", epilog=EVENTS_EXAMPLE)
def events(
    name: Annotated[
        str | None, typer.Argument(help="Whose.", metavar="NAME", show_default="everybody's")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the last ones.")] = 100,
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show connects and disconnects, with the reason, the newest last."""
    with registry(url) as opened:
        found = opened.events(name=name, limit=limit)
        if name is not None and not found:
            # Those of somebody who was removed are kept.
            known(opened.entry(name), name)
    show_rows([event_values(event) for event in found], as_json=as_json)


@app.command("set", epilog=SET_EXAMPLE)
def set_(
    name: Annotated[str, NAME],
    role: Annotated[str | None, ROLE] = None,
    metadata: Annotated[str | None, METADATA] = None,
    gateway: Annotated[list[str] | None, GATEWAY] = None,
    no_gateways: Annotated[
        bool, typer.Option("--no-gateways", help="Nobody may speak for it any more.")
    ] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Change the role, the metadata or the gateways, each as a whole."""
    values: dict[str, Any] = {}
    if role is not None:
        values["role"] = role
    if metadata is not None:
        values["metadata"] = _object(metadata)
    if gateway is not None or no_gateways:
        values["gateways"] = tuple(gateway or ())
    if not values:
        fail("give --role, --metadata, --gateway or --no-gateways", status=WRONG)
    _changed(url, name, **values)
    say(f"{name}: changed")


@app.command("block")
def block(name: Annotated[str, NAME], url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY) -> None:
    """Take no credential of it any more; its connections are closed within a second."""
    _changed(url, name, blocked=True)
    say(f"{name}: blocked")


@app.command("unblock")
def unblock(name: Annotated[str, NAME], url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY) -> None:
    """Take its credentials again."""
    _changed(url, name, blocked=False)
    say(f"{name}: not blocked")


@app.command("remove")
def remove(name: Annotated[str, NAME], url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY) -> None:
    """Remove it with its credentials; its connections are closed within a second."""

    def change(entry: "Entry | None") -> None:
        known(entry, name)

    with registry(url) as opened:
        opened.edit(name, change)
    say(f"{name}: removed")


@app.command("import", epilog=IMPORT_EXAMPLE)
def import_(
    file: Annotated[
        Path, typer.Argument(help="A registry file.", metavar="FILE", show_default=False)
    ],
    instead: Annotated[
        bool, typer.Option("--instead", help="Remove what the file does not have.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if that is more than half of the devices and services."),
    ] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Take in a registry file: devices, services, roles, authorities.

    What has the same name is replaced; all of it is taken in, or nothing. Passwords that the file
    refers to are hashed, also in the `password_formats` of the file and of the registry.
    """
    from broker.auth.password_formats import format_named, told_cost
    from broker.errors import BrokerError
    from broker.registry import load_registry
    from broker.registry.changes import counts
    from broker.registry.unrevoked import unrevoked

    if force and not instead:
        fail("--force: without --instead nothing is removed", status=WRONG)
    told: list[str] = []
    warnings: list[str | None] = []
    added: list[str] = []

    def look(before: "Content", after: "Content") -> None:
        entries = counts(before.entries, after.entries)
        if entries.removed * 2 > len(before.entries) and not force:
            fail(
                f"{file} has {len(content.entries)} devices and services; --instead would remove"
                f" {entries.removed} of the {len(before.entries)} that are there, more than half;"
                " with --force it does"
            )
        told.append(_told("devices and services", entries))
        told.append(_told("roles", counts(before.roles, after.roles)))
        told.append(_told("authorities", counts(before.authorities, after.authorities)))
        chosen, was = after.password_formats, before.password_formats
        if chosen | was:
            counted = counts(dict.fromkeys(was), dict.fromkeys(chosen))
            told.append(_told("password formats", counted))
        added.extend(sorted(chosen - was))
        warnings.append(unrevoked(before, after))

    try:
        loaded = load_registry(file)
    except BrokerError as error:
        fail(str(error), status=WRONG)
    content = loaded.content
    with registry(url, makes=True) as opened:
        there = frozenset() if instead else opened.password_formats()
        if there - content.password_formats:
            content = loaded.content_with(there)
        opened.take_in(content, instead=instead, look=look)
    say("\n".join(told))
    warnings.extend(told_cost(format_named(name)) for name in added)
    for warning in filter(None, warnings):
        typer.echo(f"warning: {warning}", err=True)


@app.command("export", epilog=EXPORT_EXAMPLE)
def export(
    file: Annotated[Path | None, EXPORTED] = None,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Write all of the registry as a registry file: imported again it is the same.

    It has hashes of passwords, and no password.
    """
    from broker.registry.yaml_writing import content_text, write_private

    with registry(url) as opened:
        content = opened.content()
    if file is None or str(file) == "-":
        say(content_text(content).rstrip("\n"))
        return
    try:
        write_private(file, content_text(content))
    except OSError as error:
        fail(f"{file} can't be written: {error.strerror}")
    say(f"{file}: {len(content.entries)} devices and services")


@app.command("upgrade")
def upgrade(url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY) -> None:
    """Bring the database to this program's version.

    Stop the brokers on it first, and make a copy.
    """
    from broker.errors import BrokerError
    from broker.registry.opening import upgrade_registry
    from broker.registry.registry_url import registry_url

    try:
        before, after = upgrade_registry(registry_url(url))
    except ValueError as error:
        fail(f"--registry: {error}", status=WRONG)
    except BrokerError as error:
        fail(str(error))
    say(f"version {after}, before {before or 'empty'}")


def _changed(url: str, name: str, **values: Any) -> None:
    def change(entry: "Entry | None") -> "Entry":
        try:
            return replace(known(entry, name), **values)
        except ValueError as error:
            fail(str(error), status=WRONG)

    with registry(url) as opened:
        opened.edit(name, change)


def _told(kind: str, counts: "Counts") -> str:
    return (
        f"{kind}: {counts.added} added, {counts.replaced} replaced, {counts.kept} kept as they"
        f" were, {counts.removed} removed"
    )


def _all_of(entry: "Entry") -> dict[str, Any]:
    return entry_values(entry) | {
        "credentials": [credential_values(each) for each in entry.credentials]
    }


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        fail(f"--metadata: is no JSON: {error}", status=WRONG)
    if not isinstance(value, dict):
        fail(f"--metadata: is {text}; it must be an object, such as {{}}", status=WRONG)
    return value
