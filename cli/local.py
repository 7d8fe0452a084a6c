"""The commands for a local cloud: start one, and use the one that runs in this folder."""

import math
import shutil
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.output import OutputClosed, say

if TYPE_CHECKING:
    from localcloud.endpoints import RunningCloud
    from localcloud.run.settings import Number

_EXIT_NO_CLOUD = 3
_EXIT_TIMEOUT = 4


class Topic(StrEnum):
    """What `tail` follows."""

    TELEMETRY = "telemetry"
    COMMANDS = "commands"
    DEAD_LETTERS = "dead-letters"
    RESULTS = "results"


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Say what is wrong and end."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(status)


def _devices(text: str) -> int:
    from localcloud.run.settings import DEVICES

    return int(_number(DEVICES, text))


def _rate(text: str) -> float:
    from localcloud.run.settings import RATE

    return _number(RATE, text)


def _duration(text: str) -> float:
    from localcloud.run.settings import DURATION

    return _number(DURATION, text)


def _number(setting: "Number", text: str) -> float:
    """Read one that `make` may have passed on: the error names its variable too."""
    from localcloud.run.settings import RunSettingsError

    try:
        return setting.read(text)
    except RunSettingsError as error:
        fail(str(error), status=2)


def run(
    devices: Annotated[
        int | None,
        typer.Option(
            help="Simulated sensors, beside this machine itself; 0 to 5000.",
            show_default="25",
            parser=_devices,
            metavar="<int>",
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            help="Messages a second in all, at most 20000.", parser=_rate, metavar="<float>"
        ),
    ] = 100.0,
    duration: Annotated[
        float | None,
        typer.Option(
            help="Seconds; then it stops by itself and prints its figures as JSON.",
            parser=_duration,
            metavar="<float>",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what the last run stored.")] = False,
    recording: Annotated[
        Path | None,
        typer.Option("--input", help="CSV file to replay in place of the simulated sensors."),
    ] = None,
    device_column: Annotated[
        str | None, typer.Option(help="The CSV file's column that names the device.")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option(help="The CSV file's column that names the time.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 1,
) -> None:
    """Start a whole IoT backend on this machine: broker, pipelines, Pub/Sub, BigQuery, devices.

    Ctrl-C stops it, in order: what the devices sent is stored first. A second Ctrl-C
    stops it at once. What it stores is in .mqttbeam, each process's log in .mqttbeam/logs.

    Examples:

      mqttbeam run

      mqttbeam run --devices 200 --rate 1000 --duration 60

      mqttbeam run --input readings.csv --rate 20
    """
    from localcloud.devices.errors import DevicesError
    from localcloud.prism import PrismUnavailable
    from localcloud.run.children import ChildEnded
    from localcloud.run.lifetime import RunFailed
    from localcloud.run.settings import RunSettings, RunSettingsError

    try:
        settings = RunSettings(
            devices=devices,
            rate_per_second=rate,
            duration_seconds=duration,
            keep=keep,
            recording=recording,
            device_column=device_column,
            time_column=time_column,
            seed=seed,
        )
    except RunSettingsError as error:
        fail(str(error), status=2)

    # All that follows takes seconds, the imports too.
    typer.echo("starting broker, Pub/Sub, BigQuery, pipelines and devices…", err=True)

    from localcloud.run import runner

    try:
        status = runner.run(settings, tell=_tell_figures, program=program_name(sys.argv[0]))
    except (RunFailed, ChildEnded, DevicesError, PrismUnavailable) as error:
        fail(str(error))
    raise typer.Exit(status)


def send(
    device: Annotated[str, typer.Argument(help="The device's id.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The command's name.", show_default=False)],
    data: Annotated[
        str, typer.Argument(metavar="JSON", help="What the device gets.", show_default=False)
    ] = "{}",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the outcome.")] = 10.0,
    expires_in: Annotated[
        float | None, typer.Option(help="Seconds after which it is not to be delivered any more.")
    ] = None,
) -> None:
    """Send a command to a device through Pub/Sub, and print what became of it.

    Exit status: 0 if it was accepted or acknowledged, 1 for any other outcome, 3 if no local
    cloud runs here, 4 if nothing was heard in time.

    Example:

      mqttbeam send climate-0001 report '{"interval_seconds": 5}'
    """
    if not 0 < timeout < math.inf:
        fail(f"--timeout {timeout:g}: expected seconds, more than 0", status=2)

    from localcloud.commanding import NoOutcome, make_command, outcome_line, send_and_wait
    from localcloud.subscriber import PubSub
    from schemas.errors import InvalidCommand
    from schemas.messages import Outcome

    try:
        command = make_command(
            device,
            name,
            data.encode(errors="surrogateescape"),
            expires_in_seconds=expires_in,
        )
    except InvalidCommand as error:
        fail(str(error), status=2)
    cloud = _running_cloud()
    try:
        with PubSub(cloud.endpoints.pubsub) as pubsub:
            outcome = send_and_wait(pubsub, command, timeout_seconds=timeout)
    except NoOutcome as error:
        fail(str(error), status=_EXIT_TIMEOUT)
    say(outcome_line(outcome))
    if device not in cloud.devices:
        typer.echo(f"{device} is no device of this run; some are: {_some(cloud.devices)}", err=True)
    good = outcome.outcome in (Outcome.ACCEPTED, Outcome.ACKNOWLEDGED)
    raise typer.Exit(0 if good else 1)


def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="A query in GoogleSQL.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a row instead of a table.")
    ] = False,
) -> None:
    """Ask the local BigQuery.

    Rows too wide for a table are shown with a line for each column. The dataset is mqttbeam; it
    holds the tables telemetry and dead_letters and the view telemetry_distinct.

    Examples:

      mqttbeam query 'SELECT device_id, COUNT(*) AS n FROM mqttbeam.telemetry GROUP BY device_id'

      mqttbeam query --json 'SELECT * FROM mqttbeam.dead_letters LIMIT 3'
    """
    cloud = _running_cloud()

    from cli.show import json_rows, rows_text
    from localcloud.bigquery import BigQueryError, LocalBigQuery

    try:
        result = LocalBigQuery(cloud.endpoints.bigquery).query(sql)
    except BigQueryError as error:
        fail(str(error))
    if as_json:
        for line in json_rows(result):
            say(line)
    else:
        from rich.console import Console

        say(rows_text(result, width=Console().width))


def tail(
    topic: Annotated[Topic, typer.Argument(help="The Pub/Sub topic.", show_default=False)],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many messages.", show_default="until Ctrl-C"),
    ] = None,
) -> None:
    """Follow a Pub/Sub topic: what is published from now on, one line a message.

    It reads from a subscription of its own, which is deleted at the end; nobody else misses
    anything.

    Examples:

      mqttbeam tail telemetry

      mqttbeam tail dead-letters --count 1
    """
    cloud = _running_cloud()

    import grpc

    from cli.show import message_line
    from localcloud.endpoints import RESULTS_TOPIC
    from localcloud.subscriber import PubSub

    name = RESULTS_TOPIC if topic is Topic.RESULTS else topic.value
    seen = 0
    try:
        with (
            PubSub(cloud.endpoints.pubsub) as pubsub,
            pubsub.temporary_subscription(name, what="tail") as subscription,
            ExitStack() as stack,
        ):
            stream = pubsub.stream(subscription)
            stack.callback(stream.close)
            for messages in stream:
                for message in messages[: None if count is None else count - seen]:
                    say(message_line(message))
                    seen += 1
                if seen == count:
                    break
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except grpc.RpcError:
        fail("the local cloud has gone", status=_EXIT_NO_CLOUD)


def program_name(argv0: str) -> str:
    """Return how this program is best called from this folder."""
    if argv0.endswith(".py"):
        return f"{program_name(sys.executable)} -m cli"
    path = Path(argv0).absolute()
    on_path = shutil.which(path.name)
    if on_path is not None and Path(on_path).absolute() == path:
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _tell_figures(line: str) -> None:
    try:
        say(line)
    except OutputClosed:
        typer.echo(f"nobody reads standard output any more; the figures: {line}", err=True)


def _running_cloud() -> "RunningCloud":
    from localcloud.endpoints import NoRunningCloud, RunningCloud

    try:
        return RunningCloud.find()
    except NoRunningCloud as error:
        fail(str(error), status=_EXIT_NO_CLOUD)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
