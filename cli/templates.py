"""The commands for Dataflow flex templates: look at them, check, build and launch them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.local import fail
from cli.output import say

if TYPE_CHECKING:
    from pipelines.preflight import Need
    from templates.catalog import Template

app = typer.Typer(no_args_is_help=True, help="Dataflow flex templates of the pipelines.")

_PREFLIGHT_SECONDS = 30.0
_INTERRUPTED = 130

_Name = Annotated[str, typer.Argument(help="Template, such as mqtt-to-pubsub.", metavar="NAME")]


def named(name: str) -> "Template":
    """Return a template, or end with those that there are."""
    from templates.catalog import template_named
    from templates.errors import UnknownTemplate

    try:
        return template_named(name)
    except UnknownTemplate as error:
        fail(str(error), status=2)


@app.command(epilog="Example:  mqttbeam templates describe mqtt-to-pubsub")
def describe(
    name: Annotated[
        str | None, typer.Argument(help="Template; without it all are listed.", metavar="[NAME]")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON; of a template the metadata that the console has."),
    ] = False,
) -> None:
    """Say what a template does and which parameters it has."""
    from templates.catalog import TEMPLATES
    from templates.entry import help_of
    from templates.specification import metadata, to_text

    if name is not None:
        template = named(name)
        say(to_text(metadata(template)).rstrip("\n") if as_json else help_of(template))
    elif as_json:
        listed = [{"name": each.name, "title": each.title} for each in TEMPLATES]
        say(json.dumps(listed, indent=2))
    else:
        for each in TEMPLATES:
            say(f"{each.name:20} {each.title}")


@app.command(epilog="Example:  mqttbeam templates check mqtt-to-pubsub")
def check(
    name: Annotated[
        str | None, typer.Argument(help="Template; without it all are checked.", metavar="[NAME]")
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Add the names of new steps to the template's graph.json."),
    ] = False,
) -> None:
    """Translate a template to the job that Dataflow would get, here, and check it.

    Needs no credentials and no network. Exit status 1 if anything is wrong.
    """
    from pipelines.errors import PipelineError
    from templates.catalog import TEMPLATES
    from templates.errors import TemplateError
    from templates.promises import IMAGE, failures
    from templates.specification import specification

    wrong = False
    for template in TEMPLATES if name is None else (named(name),):
        try:
            specification(template, image=IMAGE)
            found = list(failures(template, record=record))
        except (PipelineError, TemplateError) as error:
            found = [str(error)]
        for failure in found:
            say(f"{template.name}: {failure}")
        if not found:
            say(f"{template.name}: as promised")
        wrong = wrong or bool(found)
    if wrong:
        raise typer.Exit(1)


@app.command(
    epilog="Example:  mqttbeam templates build --push --output specs --tag 1.0"
    " --repository europe-docker.pkg.dev/my-project/mqttbeam"
)
def build(
    repository: Annotated[
        str,
        typer.Option(
            help="Where the images go, REGISTRY/PATH; each is named after its template there."
        ),
    ],
    tag: Annotated[str, typer.Option(help="Tag of the images, such as 1.0.")],
    name: Annotated[
        str | None, typer.Argument(help="Template; without it all are built.", metavar="[NAME]")
    ] = None,
    push: Annotated[
        bool,
        typer.Option(
            "--push", help="Push them; the specifications then name what was pushed by its digest."
        ),
    ] = False,
    output: Annotated[
        Path, typer.Option(help="Folder for the specifications, NAME.json each.")
    ] = Path(),
    as_root: Annotated[
        bool,
        typer.Option(
            "--as-root",
            help="Images whose programs run as root, for hosts that refuse an ordinary user.",
        ),
    ] = False,
) -> None:
    """Build the image of launcher and workers, by docker or podman, and write the specification.

    Base images are taken by the digests of templates/images.lock, packages by
    the hashes of templates/requirements.lock. The engine speaks on standard
    error; standard output has a line for each specification: its file, and
    the image that it names. Run it in a checkout of the project.
    """
    from templates.catalog import TEMPLATES
    from templates.errors import ImageError, TemplateError
    from templates.image.build import build_images
    from templates.specification import check_places, specification, to_text

    chosen = TEMPLATES if name is None else (named(name),)
    try:
        check_places(repository=repository, tag=tag)
        output.mkdir(parents=True, exist_ok=True)
        for template, image in build_images(
            chosen, repository=repository, tag=tag, push=push, as_root=as_root
        ):
            file = output / f"{template.name}.json"
            file.write_text(to_text(specification(template, image=image)), encoding="utf-8")
            say(f"{file} {image}")
    except ImageError as error:
        fail(str(error))
    except TemplateError as error:
        fail(str(error), status=2)
    except OSError as error:
        fail(f"--output {output}: {error.strerror}", status=2)


@app.command(
    epilog="Example:  mqttbeam templates spec mqtt-to-pubsub"
    " --image europe-docker.pkg.dev/my-project/mqttbeam/mqtt-to-pubsub:1.0"
)
def spec(
    name: _Name,
    image: Annotated[str, typer.Option(help="Image of launcher and workers, with tag or digest.")],
    output: Annotated[
        str | None, typer.Option(help="File to write; without it standard output.")
    ] = None,
) -> None:
    """Write a template's specification, checked against Google's own type."""
    from templates.errors import TemplateError
    from templates.specification import check_image, specification, to_text

    template = named(name)
    try:
        check_image(image, named="--image")
        text = to_text(specification(template, image=image))
    except TemplateError as error:
        fail(str(error), status=2)
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        # Of no name at all, a path would make the folder that we are in.
        if not output:
            fail("--output '': must name a file", status=2)
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"--output {output!r}: {error.strerror}", status=2)


@app.command(
    epilog="Example:  mqttbeam templates launch pubsub-to-bigquery --project my-project"
    " --region europe-west1 --job warehouse --spec gs://my-bucket/pubsub-to-bigquery.json"
    " --service-account warehouse@my-project.iam.gserviceaccount.com --max-workers 4 --private"
    " --subnetwork regions/europe-west1/subnetworks/mqttbeam-workers"
    " --staging-location gs://my-bucket/staging --temp-location gs://my-bucket/temp"
    " --param inputSubscription=projects/my-project/subscriptions/telemetry-warehouse"
    " --param outputTableSpec=my-project:iot.telemetry"
)
def launch(
    name: _Name,
    project: Annotated[str, typer.Option(help="Google Cloud project of the job.")],
    region: Annotated[str, typer.Option(help="Region of the job, such as europe-west1.")],
    job: Annotated[str, typer.Option(help="Name of the job.")],
    spec: Annotated[str, typer.Option(help="The template's specification, gs://BUCKET/FILE.")],
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter, NAME=VALUE; once for each.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Service account of the workers.")
    ] = None,
    max_workers: Annotated[int | None, typer.Option(help="Where autoscaling ends.")] = None,
    machine_type: Annotated[str | None, typer.Option(help="Machine type of the workers.")] = None,
    subnetwork: Annotated[
        str | None, typer.Option(help="Subnetwork of the workers, regions/R/subnetworks/S.")
    ] = None,
    staging_location: Annotated[
        str | None,
        typer.Option(
            help="Folder for what the workers fetch when they start, gs://BUCKET/FOLDER: keep it"
            " while the job runs. Without it, in a bucket that Dataflow makes."
        ),
    ] = None,
    temp_location: Annotated[
        str | None,
        typer.Option(
            help="Folder for temporary files, gs://BUCKET/FOLDER. Without it, in a bucket that"
            " Dataflow makes."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Workers without public addresses.")
    ] = False,
    exactly_once: Annotated[
        bool,
        typer.Option("--exactly-once", help="Dataflow's exactly-once mode, which costs more."),
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Replace the running job of that name in place.")
    ] = False,
    skip_preflight: Annotated[
        bool,
        typer.Option(
            "--skip-preflight",
            help="Launch without looking at what must be there: a job that lacks a topic, a right"
            " or its broker starts, costs, and moves nothing.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Another server than Google's; http:// goes without credentials."),
    ] = None,
) -> None:
    """Launch a template on Dataflow: shows the whole request and its cost, and asks.

    All parameters are checked here first, then what they name is looked at,
    as by `mqttbeam doctor`: what failed refuses the launch, what can't be
    told from here does not. The last line on standard output is the job's id.
    """
    from templates.cost import cost_estimate
    from templates.errors import LaunchError, TemplateError
    from templates.launching import Launch, check_settings, launch_request, request_text, warnings
    from templates.preflight import launch_needs
    from templates.sending import send, unknown

    template = named(name)
    values = parameters(param or [])
    try:
        check_settings(endpoint=endpoint)
        needs = (
            ()
            if skip_preflight
            else launch_needs(
                template,
                values,
                project=project,
                spec=spec,
                staging_location=staging_location,
                temp_location=temp_location,
                subnetwork=subnetwork,
                private=private,
            )
        )
        settings = Launch(
            project=project,
            region=region,
            job_name=job,
            spec=spec,
            service_account=service_account,
            maximum_workers=max_workers,
            machine_type=machine_type,
            subnetwork=subnetwork,
            staging_location=staging_location,
            temp_location=temp_location,
            private=private,
            exactly_once=exactly_once,
            update=update,
        )
        request = launch_request(template, values, settings)
    except TemplateError as error:
        fail(str(error), status=2)
    typer.echo(f"{project}, {region}: {request_text(request)}", err=True)
    typer.echo(cost_estimate(machine_type, max_workers), err=True)
    for warning in warnings(template, values, settings):
        typer.echo(f"warning: {warning}", err=True)
    if not yes and not sys.stdin.isatty():
        fail("nobody is here to be asked: give --yes to launch", status=2)
    if needs:
        _refuse_failures(needs, service_account)
    if not yes:
        _ask(f"{'Update the running' if update else 'Launch the'} job {job}?")
    try:
        say(send(request, endpoint=endpoint))
    except LaunchError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(unknown(request, "stopped while it was sent"), status=_INTERRUPTED)


def _refuse_failures(needs: Sequence["Need"], service_account: str | None) -> None:
    """Look at what a launch needs, show it, and end if anything failed."""
    from cli.findings import lines, looked
    from pipelines.preflight import Outcome, worst

    _, findings = looked(
        needs, service_account=service_account, seconds=_PREFLIGHT_SECONDS, in_network=False
    )
    typer.echo("\n".join(["preflight:", *lines(findings, everything=False)]), err=True)
    if worst(findings) is Outcome.FAILED:
        fail("not launched: mend what failed, or give --skip-preflight")


def parameters(given: list[str]) -> dict[str, str]:
    """Return the parameters of NAME=VALUE pairs, or end with what is wrong with one."""
    values: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            # Not repeated: it may be a secret.
            fail(
                "--param: must be NAME=VALUE, as in --param startTimeoutSeconds=60; names and"
                " examples are shown by `mqttbeam templates describe`",
                status=2,
            )
        if name in values:
            fail(f"--param {name}: is given twice", status=2)
        values[name] = value
    return values


def _ask(question: str) -> None:
    """Goes on after a yes. All of it is on standard error: typer's own leaves a space on the other,
    before the job's id that a script takes from there.
    """
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        fail("not launched, as the answer was no yes")
