"""`mqttbeam devices credentials` and `rotate`: what a device or service proves itself by."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.local import fail
from cli.output import say
from cli.registry import (
    DEFAULT_REGISTRY,
    JSON,
    NAME,
    OUT,
    REGISTRY,
    WRONG,
    credential_values,
    hand_over,
    has_expired,
    known,
    registry,
    show_rows,
    written,
)

if TYPE_CHECKING:
    from broker.auth.identity import Authority, Credential, Validity
    from broker.registry.entries import Entry
    from broker.registry.issuing import Issued, Signer
    from broker.registry.sql import SqlRegistry


class Kind(StrEnum):
    """What can be made on request; `broker.registry.issuing` has the same."""

    PASSWORD = "password"  # noqa: S105  # the word
    SCRAM = "scram"
    RS256 = "rs256"
    ES256 = "es256"
    CERTIFICATE = "certificate"


ADD_EXAMPLE = """Examples:

\b
  mqttbeam devices credentials add meter-7 scram
  mqttbeam devices credentials add meter-7 es256 --out secrets
  mqttbeam devices credentials add meter-7 certificate --out secrets --days 365
  mqttbeam devices credentials add meter-7 --public meter-7.pem --not-after 2027-12-31T00:00:00Z
"""
ROTATE_EXAMPLE = """Examples:

\b
  mqttbeam devices rotate meter-7
  mqttbeam devices rotate meter-7 --overlap 86400 --out secrets
  mqttbeam devices rotate meter-8 --ca-certificate ca.pem --ca-key ca.key.pem --out secrets
"""

_DAY_SECONDS = 86_400
_LONGEST_OVERLAP_DAYS = 3_650

NOT_BEFORE = typer.Option(metavar="TIME", help="Not valid sooner, as in 2026-12-31T00:00:00Z.")
NOT_AFTER = typer.Option(metavar="TIME", help="Not valid then or later.")
DAYS = typer.Option(
    min=1,
    max=36_500,
    show_default="no end; a certificate: 3650",
    help="How long the new one is valid, from now.",
)
CA_CERTIFICATE = typer.Option(help="The CA that signs the new certificate, in PEM.")
CA_KEY = typer.Option(help="The CA's private key, in PEM.")
PASSWORD_FILE = typer.Option(
    metavar="FILE", help="A password of your choice, in a file; - is standard input."
)

app = typer.Typer(no_args_is_help=True, help="What a device or service proves itself by.")


@app.callback()
def credentials() -> None:
    """What a device or service proves itself by."""


@app.command("add", epilog=ADD_EXAMPLE)
def add(
    name: Annotated[str, NAME],
    kind: Annotated[
        Kind | None, typer.Argument(help="What to make.", metavar="KIND", show_default=False)
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A public key or certificate that is there, in PEM."),
    ] = None,
    password_file: Annotated[str | None, PASSWORD_FILE] = None,
    not_before: Annotated[str | None, NOT_BEFORE] = None,
    not_after: Annotated[str | None, NOT_AFTER] = None,
    days: Annotated[int | None, DAYS] = None,
    ca_certificate: Annotated[Path | None, CA_CERTIFICATE] = None,
    ca_key: Annotated[Path | None, CA_KEY] = None,
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Add a credential beside those that are there.

    KIND is password, scram (SCRAM-SHA-256), rs256 or es256 (a key pair for JSON Web Tokens) or
    certificate, which signs itself unless a CA is given. What is secret is shown once, or written
    to files of mode 0600 with --out.
    """
    if (kind is None) == (public is None):
        fail("give a KIND to make one, or --public for one that is there", status=WRONG)
    signer = _signer(ca_certificate, ca_key)
    if signer is not None and kind is not Kind.CERTIFICATE:
        fail("--ca-certificate: a CA signs certificates and nothing else", status=WRONG)
    validity = read_validity(not_before, not_after, days)
    if public is not None:
        credential = _public(public, name, validity)
        with registry(url) as opened:
            _put(opened, name, credential, None, None)
        if as_json:
            say(json.dumps({"name": name, "credential": credential_values(credential)}))
        else:
            say(f"{name}: new credential {credential.id}")
        return
    assert kind is not None
    password = read_password(kind, password_file)
    with registry(url) as opened:
        formats = opened.password_formats()
        issued = make(kind, name, validity, password, formats=formats, signer=signer)
        _put(opened, name, issued.credential, issued, out)
    hand_over(issued, name, out=out, as_json=as_json)


@app.command("list")
def list_(
    name: Annotated[str, NAME],
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show the credentials of a device or service; none of them can be used from what is shown."""
    with registry(url) as opened:
        entry = known(opened.entry(name), name)
    show_rows([credential_values(each) for each in entry.credentials], as_json=as_json)


@app.command("remove")
def remove(
    name: Annotated[str, NAME],
    identifier: Annotated[
        str, typer.Argument(help="Its id, as `list` shows it.", metavar="ID", show_default=False)
    ],
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Remove a credential; a connection that it has proved is closed within a second."""

    def change(entry: "Entry | None") -> "Entry":
        entry = known(entry, name)
        left = tuple(each for each in entry.credentials if each.id != identifier)
        if len(left) == len(entry.credentials):
            _no_such(entry, identifier)
        removed.extend(each for each in entry.credentials if each.id == identifier)
        return replace(entry, credentials=left)

    removed: list[Credential] = []
    with registry(url) as opened:
        opened.edit(name, change)
        authorities = opened.authorities()
    say(f"{name}: credential {identifier} is removed")
    _warn_of_authorities(removed[0], authorities)


def rotate(
    name: Annotated[str, NAME],
    identifier: Annotated[
        str | None,
        typer.Option(
            "--credential", metavar="ID", help="Which one; needed where there are several."
        ),
    ] = None,
    overlap: Annotated[
        int,
        typer.Option(
            min=0,
            max=_LONGEST_OVERLAP_DAYS * _DAY_SECONDS,
            help="Seconds for which the old one is still valid.",
        ),
    ] = 0,
    days: Annotated[int | None, DAYS] = None,
    ca_certificate: Annotated[Path | None, CA_CERTIFICATE] = None,
    ca_key: Annotated[Path | None, CA_KEY] = None,
    self_signed: Annotated[
        bool, typer.Option("--self-signed", help="The new certificate is signed by no CA.")
    ] = False,
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Put a new credential in the place of an old one of the same kind.

    Without --overlap the old one ends at once, and the connection that it has proved with it.

    One that has expired is left alone. A certificate needs a CA or --self-signed: the registry
    doesn't know who signed the old one.
    """
    from broker.registry.issuing import kind_of, rotated

    signer, validity = _signer(ca_certificate, ca_key), read_validity(None, None, days)
    if signer is not None and self_signed:
        fail("give a CA or --self-signed", status=WRONG)
    with registry(url) as opened:
        old = _chosen(known(opened.entry(name), name), identifier)
        kind = Kind(kind_of(old).value)
        if kind is not Kind.CERTIFICATE and (signer is not None or self_signed):
            fail(f"{old.id} is no certificate, which is all that is signed", status=WRONG)
        if kind is Kind.CERTIFICATE and signer is None and not self_signed:
            fail(
                f"{old.id} is a certificate, and the registry doesn't know who signed it; give"
                " --ca-certificate and --ca-key for one of a CA, or --self-signed",
                status=WRONG,
            )
        formats = opened.password_formats()
        issued = make(kind, name, validity, None, formats=formats, signer=signer, instead_of=old)
        until = int(time.time()) + overlap if overlap else None

        def change(entry: "Entry | None") -> "Entry":
            # What it is by now.
            entry = known(entry, name)
            return rotated(entry, _chosen(entry, old.id), issued.credential, until=until)

        with written(issued, out):
            opened.edit(name, change)
        authorities = opened.authorities()
    hand_over(issued, name, out=out, as_json=as_json)
    _warn_of_authorities(old, authorities)


def make(
    kind: Kind,
    name: str,
    validity: "Validity",
    password: str | None,
    *,
    formats: Iterable[str],
    signer: "Signer | None" = None,
    instead_of: "Credential | None" = None,
) -> "Issued":
    """Make a credential; end the program if it can't be made.

    `formats`: the registry's, in which a password is hashed, too.
    """
    from broker.registry.issuing import CredentialKind, issue

    try:
        return issue(
            CredentialKind(kind.value),
            name,
            validity=validity,
            formats=formats,
            password=password,
            signer=signer,
            instead_of=instead_of,
        )
    except ValueError as error:
        fail(str(error), status=WRONG)


def read_password(kind: Kind, file: str | None) -> str | None:
    """Read a password that was chosen, if one was; end the program if it can't be had."""
    from broker.registry.issuing import CredentialKind, check_chosen

    if file is None:
        return None
    try:
        # In bytes: in some locales Python would take what is no UTF-8, too.
        text = sys.stdin.buffer.read().decode() if file == "-" else text_of(Path(file))
        password = text.removesuffix("\n")
        check_chosen(CredentialKind(kind.value), password)
    except UnicodeDecodeError:
        fail("standard input is no text in UTF-8", status=WRONG)
    except ValueError as error:
        fail(str(error), status=WRONG)
    return password


def read_validity(
    not_before: str | None, not_after: str | None, days: int | None = None
) -> "Validity":
    """Read the times; end the program if they make no sense, or the end has passed."""
    from broker.auth.identity import Validity
    from schemas.times import parse_time

    seconds: dict[str, float | None] = {"not_before": None, "not_after": None}
    if days is not None and not_after is not None:
        fail("give --days or --not-after", status=WRONG)
    now = int(time.time())
    try:
        for key, text in (("not_before", not_before), ("not_after", not_after)):
            if text is not None:
                seconds[key] = float(int(parse_time(text).timestamp()))
        if days is not None:
            seconds["not_after"] = float(now + days * _DAY_SECONDS)
        validity = Validity(**seconds)
    except ValueError as error:
        fail(f"--not-before, --not-after: {error}", status=WRONG)
    if validity.not_after is not None and validity.not_after <= now:
        fail(f"--not-after {not_after}: that has passed already", status=WRONG)
    return validity


def text_of(file: Path) -> str:
    """Read a file; end the program if it can't be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"{file} is no text in UTF-8", status=WRONG)
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror}", status=WRONG)


def _put(
    opened: "SqlRegistry",
    name: str,
    credential: "Credential",
    issued: "Issued | None",
    out: Path | None,
) -> None:
    def change(entry: "Entry | None") -> "Entry":
        entry = known(entry, name)
        return replace(entry, credentials=(*entry.credentials, credential))

    with written(issued, out):
        opened.edit(name, change)


def _chosen(entry: "Entry", identifier: str | None) -> "Credential":
    if not entry.credentials:
        fail(
            f"{entry.name} has no credential; `mqttbeam devices credentials add {entry.name} KIND`"
            " makes one",
            status=WRONG,
        )
    if identifier is None:
        now = time.time()
        live = [each for each in entry.credentials if not has_expired(each, now)]
        choice = live or entry.credentials
        if len(choice) != 1:
            fail(
                f"{entry.name} has {len(choice)} credentials; say which by"
                f" --credential: {', '.join(each.id for each in choice)}",
                status=WRONG,
            )
        return choice[0]
    found = [each for each in entry.credentials if each.id == identifier]
    return found[0] if found else _no_such(entry, identifier)


def _no_such(entry: "Entry", identifier: str) -> NoReturn:
    ids = ", ".join(each.id for each in entry.credentials)
    fail(f"{entry.name} has no credential {identifier!r}; it has: {ids or 'none at all'}")


def _public(file: Path, name: str, validity: "Validity") -> "Credential":
    from broker.registry.issuing import from_public

    try:
        return from_public(text_of(file), name, validity=validity)
    except ValueError as error:
        fail(f"--public {file}: {error}", status=WRONG)


def _signer(certificate: Path | None, key: Path | None) -> "Signer | None":
    from broker.registry.issuing import Signer
    from broker.registry.pem import check_authority

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        fail("--ca-certificate and --ca-key go together", status=WRONG)
    try:
        text = check_authority(text_of(certificate))
    except ValueError as error:
        fail(f"--ca-certificate: {certificate} {error}", status=WRONG)
    return Signer(certificate=text, key=text_of(key))


def _warn_of_authorities(gone: "Credential", authorities: "Sequence[Authority]") -> None:
    """Say that a certificate may still be good: the registry doesn't know who signed it."""
    from broker.auth.identity import Certificate
    from broker.registry.unrevoked import words

    if isinstance(gone, Certificate) and authorities:
        names = sorted(each.id for each in authorities)
        typer.echo(f"warning: {words([gone.id], names)}", err=True)
