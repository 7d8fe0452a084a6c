"""What the commands on devices share: the registry that they are about, and how it is shown."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.local import fail
from cli.output import say

if TYPE_CHECKING:
    from broker.auth.identity import Credential
    from broker.registry.entries import Entry
    from broker.registry.events import ClientEvent, Presence
    from broker.registry.issuing import Issued
    from broker.registry.sql import SqlRegistry

WRONG = 2

REGISTRY = typer.Option(
    "--registry",
    envvar="MQTTBEAM_REGISTRY",
    metavar="URL",
    help="The database, such as sqlite:///registry.db or"
    " postgresql+psycopg://USER:${env:NAME}@HOST/DATABASE.",
)
DEFAULT_REGISTRY = "sqlite:///registry.db"
NAME = typer.Argument(help="The device's or service's name.", metavar="NAME", show_default=False)
JSON = typer.Option("--json", help="Print JSON, one object a line.")
EXPORTED = typer.Argument(
    help="Written with mode 0600; - is standard output.",
    metavar="FILE",
    show_default="printed",
)
OUT = typer.Option(
    "--out",
    help="A folder for what is secret, in files of mode 0600 that have the credential's id in their"
    " name, in place of printing it; it is made if it isn't there.",
    show_default=False,
)


@contextmanager
def registry(text: str, *, makes: bool = False) -> Iterator["SqlRegistry"]:
    """Open the registry; what it refuses ends the program with one line.

    `makes`: a file that is not there yet is made.
    """
    from broker.errors import BrokerError
    from broker.registry.registry_url import registry_url
    from broker.registry.sql import SqlRegistry

    try:
        url = registry_url(text)
    except ValueError as error:
        fail(f"--registry: {error}", status=WRONG)
    is_file = url.get_backend_name() == "sqlite"
    if is_file and not makes and not Path(str(url.database)).exists():
        fail(f"{url.database} is not there; `mqttbeam devices add` or `import` makes it")
    try:
        opened = SqlRegistry(url)
        try:
            yield opened
        finally:
            opened.close()
    except BrokerError as error:
        fail(str(error))


def known(entry: "Entry | None", name: str) -> "Entry":
    """Return what is there; end the program if nothing is."""
    if entry is None:
        fail(f"there is no device or service {name!r}; `mqttbeam devices list` shows all")
    return entry


def show_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows with the same keys, as JSON or as columns under their names."""
    if as_json:
        for row in rows:
            say(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        return
    texts = [list(rows[0])] + [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for line in texts:
        say("  ".join(map(str.ljust, line, widths)).rstrip())


def entry_values(entry: "Entry") -> dict[str, Any]:
    """A device or service as JSON has it, without its credentials."""
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "role": entry.role,
        "client_id_prefix": entry.client_id_prefix,
        "blocked": entry.blocked,
        "gateways": list(entry.gateways),
        "metadata": dict(entry.metadata),
    }


def credential_values(credential: "Credential") -> dict[str, Any]:
    """A credential as JSON has it: nothing that would prove anything."""
    from broker.auth.identity import Certificate, Password
    from broker.registry.issuing import kind_of
    from broker.registry.yaml_credentials import validity_values

    validity = validity_values(credential.validity)
    return {
        "id": credential.id,
        "kind": kind_of(credential).value,
        "expired": has_expired(credential, time.time()),
        "not_before": validity.get("not_before"),
        "not_after": validity.get("not_after"),
        "fingerprint": credential.fingerprint.hex()
        if isinstance(credential, Certificate)
        else None,
        "other_hashes": [each.format for each in credential.others]
        if isinstance(credential, Password)
        else [],
    }


def has_expired(credential: "Credential", now: float) -> bool:
    """Whether its end, if it has one, has passed at `now`, in seconds since the epoch."""
    end = credential.validity.not_after
    return end is not None and end <= now


def presence_values(presence: "Presence") -> dict[str, str | None]:
    """When a device or service did something last, as JSON has it."""
    return {
        "connected_at": _time(presence.connected_at),
        "disconnected_at": _time(presence.disconnected_at),
        "seen_at": _time(presence.seen_at),
    }


def event_values(event: "ClientEvent") -> dict[str, Any]:
    """A connect or disconnect as JSON has it."""
    return {
        "at": _time(event.at),
        "event": event.kind.value,
        "name": event.name,
        "client_id": event.client_id,
        "peer": event.peer,
        "protocol": event.protocol,
        "reason": event.reason,
    }


def hand_over(issued: "Issued", name: str, *, out: Path | None, as_json: bool) -> None:
    """Give away what is secret: once, to a folder or to standard output."""
    told = credential_values(issued.credential)
    if out is not None:
        told["files"] = [str(file) for file in _files(issued, out)]
    elif as_json:
        told["secrets"] = dict(issued.files)
    if as_json:
        say(json.dumps({"name": name, "credential": told}))
        return
    say(f"{name}: new credential {issued.credential.id}")
    if out is not None:
        for file in told["files"]:
            say(file)
        return
    for ending, text in issued.files.items():
        shown = f"{ending}: {text}" if "\n" not in text else f"{ending}:\n{text.rstrip()}"
        say(f"shown once, {shown}")


@contextmanager
def written(issued: "Issued | None", out: Path | None) -> Iterator[None]:
    """Write what is secret to its files before it counts; take them away if it comes to nothing."""
    from broker.registry.yaml_writing import write_private

    made: list[Path] = []
    try:
        if issued is not None and out is not None:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path, text in _files(issued, out).items():
                write_private(path, text)
                made.append(path)
        yield
    except OSError as error:
        fail(f"--out {out}: {error.strerror}")
    except BaseException:  # whatever it was, no secret of nobody stays; raised again
        for path in made:
            path.unlink()
        raise


def _files(issued: "Issued", out: Path) -> dict[Path, str]:
    """What goes where: a credential's id is its own, so its files are in nobody's place."""
    stem = issued.credential.id.replace("/", ".")
    return {out / f"{stem}.{ending}": text for ending, text in issued.files.items()}


def _time(seconds: float | None) -> str | None:
    from schemas.times import format_time

    return None if seconds is None else format_time(datetime.fromtimestamp(seconds, UTC))


def _cell(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str):
        # What a client chose must not write lines of its own.
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in value)
    return json.dumps(value, ensure_ascii=False)
