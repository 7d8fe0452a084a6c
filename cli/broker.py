"""`mqttbeam broker`: serve, look at what a start would meet, and ask or mend what runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import administration, store
from cli.findings import lines
from cli.output import say

_FAILED = 1
_WRONG = 2

_SERVE_EXAMPLE = """Example:  mqttbeam broker serve --config broker.yaml

\b
broker.yaml:
  listeners:
    - {type: tcp, host: 127.0.0.1, port: 1883}
  registry: {file: registry.yaml}

\b
registry.yaml, whose passwords are in the environment:
  version: 1
  devices:
    meter-7: {password_env: METER_7_PASSWORD}
  services:
    telemetry:
      role: telemetry-pipeline
      client_id_prefix: telemetry
      password_env: TELEMETRY_PASSWORD

docs/broker.md has the rest.
"""
_CHECK_EXAMPLE = "Example:  mqttbeam broker check broker.yaml"

app = typer.Typer(no_args_is_help=True, help="The broker on its own.")


@app.command("check", epilog=_CHECK_EXAMPLE)
def check(
    config: Annotated[
        Path, typer.Argument(help="The broker's YAML file.", metavar="CONFIG", show_default=False)
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 for warnings, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at all that a start would meet, and say what mends what is wrong.

    The configuration, the registry, certificates and when they end, the
    store, every address, and the system's limit of open files. Nothing
    is changed, no secret is shown. Run it as the broker's user.
    Exit status: 0; 1 if anything failed.
    """
    from datetime import UTC, datetime

    from broker.server.checking import check as check_broker
    from schemas.finding import worst

    findings = check_broker(config, datetime.now(UTC))
    if as_json:
        outcome = {"outcome": worst(findings), "findings": [asdict(each) for each in findings]}
        say(json.dumps(outcome, indent=2))
    else:
        say("\n".join(lines(findings, everything=True)))
    outcomes = {str(finding.outcome) for finding in findings}
    if "failed" in outcomes or (strict and outcomes - {"ok"}):
        raise typer.Exit(_FAILED)


@app.command("serve", epilog=_SERVE_EXAMPLE)
def serve(
    config: Annotated[Path, typer.Option(help="YAML file: listeners, registry, limits.")],
) -> None:
    """Serve MQTT 3.1.1 and 5.0 until SIGTERM or Ctrl-C.

    Listens on 127.0.0.1 unless the file says otherwise; nobody may connect whom its registry
    does not name.
    """
    from broker.errors import BrokerError
    from broker.server import serve as serve_broker
    from broker.server.logs import tell_end

    try:
        serve_broker(config)
    except BrokerError as error:
        tell_end(error)
        raise typer.Exit(_WRONG) from error


# In the order of the help.
app.command("status", epilog=administration.STATUS_EXAMPLE)(administration.status)
app.command("clients", epilog=administration.CLIENTS_EXAMPLE)(administration.clients)
app.command("kick", epilog=administration.KICK_EXAMPLE)(administration.kick)
app.add_typer(administration.retained_app, name="retained")
app.command("backup", epilog=store.BACKUP_EXAMPLE)(store.backup)
app.command("restore", epilog=store.RESTORE_EXAMPLE)(store.restore)
app.command("upgrade", epilog=store.UPGRADE_EXAMPLE)(store.upgrade)
