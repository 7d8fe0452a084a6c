"""`mqttbeam devices authorities`: the CAs of a registry, and their revocation lists."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.credentials import text_of
from cli.local import fail
from cli.output import say
from cli.registry import DEFAULT_REGISTRY, JSON, REGISTRY, WRONG, registry, show_rows

if TYPE_CHECKING:
    from broker.auth.identity import Authority

SET_EXAMPLE = "Example:  mqttbeam devices authorities set site-ca --revocation-list ca.crl"

app = typer.Typer(no_args_is_help=True, help="CAs whose certificates speak for whom they name.")


@app.callback()
def authorities() -> None:
    """CAs whose certificates speak for whom they name; they come in by `devices import`."""


@app.command("list")
def list_(
    as_json: Annotated[bool, JSON] = False,
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Show all authorities, and until when their revocation lists hold."""
    with registry(url) as opened:
        found = sorted(opened.authorities(), key=lambda each: each.id)
    show_rows([_values(each) for each in found], as_json=as_json)


@app.command("set", epilog=SET_EXAMPLE)
def set_(
    name: Annotated[
        str, typer.Argument(help="The authority's name.", metavar="NAME", show_default=False)
    ],
    revocation_list: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Its new revocation list, in PEM.", show_default=False),
    ],
    url: Annotated[str, REGISTRY] = DEFAULT_REGISTRY,
) -> None:
    """Give an authority its new revocation list, in place of the one before.

    Who is connected by a certificate that is on it is disconnected within a second.
    """
    from broker.registry.revoking import with_revocation_list

    text = text_of(revocation_list)

    def change(authority: "Authority") -> "Authority":
        try:
            return with_revocation_list(authority, text, time.time())
        except ValueError as error:
            fail(f"--revocation-list: {revocation_list} {error}", status=WRONG)

    with registry(url) as opened:
        values = _values(opened.edit_authority(name, change))
    say(
        f"{name}: {values['revoked']} revoked,"
        f" the list holds until {values['list_ends'] or 'there is another one'}"
    )


def _values(authority: "Authority") -> dict[str, Any]:
    from cryptography import x509

    from schemas.times import format_time

    revoked = ends = None
    if authority.revocation_list is not None:
        listed = x509.load_pem_x509_crl(authority.revocation_list.encode())
        revoked, ends = len(listed), listed.next_update_utc
    return {
        "name": authority.id,
        "name_from": authority.name_from.value,
        "pattern": authority.pattern,
        "revoked": revoked,
        "list_ends": None if ends is None else format_time(ends),
    }
