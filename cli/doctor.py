"""`mqttbeam doctor`: what a template and its launch need, looked at before it is launched."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.findings import lines, looked
from cli.local import fail
from cli.output import say
from cli.templates import named, parameters

if TYPE_CHECKING:
    from pipelines.preflight import Finding

EXAMPLE = (
    "Example:  mqttbeam doctor pubsub-to-bigquery"
    " --service-account warehouse@my-project.iam.gserviceaccount.com"
    " --param inputSubscription=projects/my-project/subscriptions/telemetry-warehouse"
    " --param outputTableSpec=my-project:iot.telemetry"
)

_FAILED = 1
_WRONG = 2


def doctor(
    name: Annotated[
        str, typer.Argument(help="Template, such as mqtt-to-pubsub.", metavar="TEMPLATE")
    ],
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter, NAME=VALUE; once for each.")
    ] = None,
    service_account: Annotated[
        str | None,
        typer.Option(
            help="Service account of the workers, whose rights are looked at; without it your own."
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(help="Project of the job: its services and who may launch are looked at too."),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(help="The template's specification, gs://BUCKET/FILE: is looked at too."),
    ] = None,
    staging_location: Annotated[
        str | None,
        typer.Option(help="The launch's folder for staged files, gs://BUCKET/FOLDER, too."),
    ] = None,
    temp_location: Annotated[
        str | None,
        typer.Option(help="The launch's folder for temporary files, gs://BUCKET/FOLDER, too."),
    ] = None,
    subnetwork: Annotated[
        str | None,
        typer.Option(
            help="The workers' subnetwork, regions/R/subnetworks/S in --project, or"
            " projects/P/regions/R/subnetworks/S, too."
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option("--private", help="Workers without public addresses: is there a way?"),
    ] = False,
    in_network: Annotated[
        bool,
        typer.Option(
            "--in-network",
            help="This machine is in the workers' network: a broker it can't reach is a failure.",
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for all of it, 1 to 600.")] = 30.0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit status 1 for warnings and for what can't be told."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at what a template and its launch need, all at once, and say what mends what is wrong.

    Brokers, credentials and topic filters; Pub/Sub topics and subscriptions,
    tables, buckets and secrets; and whether the service account may use them.
    Nothing is changed, no message is taken from a running pipeline, no secret
    is shown. docs/doctor.md says how. Exit status: 0; 1 if anything failed;
    2 if an option is wrong.
    """
    from templates.errors import TemplateError
    from templates.launching import check_settings
    from templates.preflight import launch_needs

    if not 1 <= timeout <= 600:
        fail(f"--timeout is {timeout:g}: expected seconds, 1 to 600", status=_WRONG)
    try:
        check_settings(
            project=project,
            spec=spec,
            service_account=service_account,
            staging_location=staging_location,
            temp_location=temp_location,
            subnetwork=subnetwork,
        )
        if private and subnetwork is None:
            fail("--private needs --subnetwork: which must have a way to Google", status=_WRONG)
        if subnetwork is not None and "projects/" not in subnetwork and project is None:
            fail(f"--subnetwork {subnetwork!r} needs --project: whose it is", status=_WRONG)
        needs = launch_needs(
            named(name),
            parameters(param or []),
            project=project,
            spec=spec,
            staging_location=staging_location,
            temp_location=temp_location,
            subnetwork=subnetwork,
            private=private,
        )
    except TemplateError as error:
        fail(str(error), status=_WRONG)
    whose, findings = looked(
        needs, service_account=service_account, seconds=timeout, in_network=in_network
    )
    if as_json:
        say(json.dumps(_as_json(name, whose, findings), indent=2))
    else:
        say("\n".join(lines(findings, everything=True)))
    outcomes = {str(finding.outcome) for finding in findings}
    if "failed" in outcomes or (strict and outcomes - {"ok"}):
        raise typer.Exit(_FAILED)


def _as_json(name: str, whose: str, findings: Sequence["Finding"]) -> Mapping[str, object]:
    from pipelines.preflight import worst

    return {
        "template": name,
        "account": whose,
        "outcome": worst(findings),
        "findings": [asdict(finding) for finding in findings],
    }
