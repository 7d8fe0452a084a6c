"""The commands of `mqttbeam`: arguments in, one call, words out.

What a command needs is imported when it runs, so that `--help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cli import archive, broker, create, devices, doctor, local, plan, templates
from cli.output import OutputClosed, OutputFailed, told_apart

_WORDS = {
    "Input should be greater": "expected a number greater",
    "Input should be less": "expected a number less",
    "Input should be": "expected",
    "Value error, ": "",
    ", unable to parse string as a number": "",
    ", unable to parse string as an integer": "",
    ". Choose from": "; choose from",
    ". Did you mean": "; did you mean",
}
"""What typer's words for a wrong value become."""


class _Commands(TyperGroup):
    """Commands whose broken pipes are errors; that of standard output comes as OutputClosed.

    A wrong use that typer itself finds is told as we tell ours: one line, without a box.
    """

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Read what stands before the command's name."""
        with _in_one_line():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer hides click's
        """Run the command."""
        try:
            with _in_one_line():
                return super().invoke(ctx)
        except BrokenPipeError as error:
            raise RuntimeError("a connection to another process broke") from error


@contextmanager
def _in_one_line() -> Iterator[None]:
    """End with typer's words for a wrong use, with what was given and where to look."""
    try:
        yield
    except TyperException as error:
        words = " ".join(error.format_message().split()).rstrip(".")
        if not words:
            # A command without any argument: its help has been printed.
            raise
        for theirs, ours in _WORDS.items():
            words = words.replace(theirs, ours)
        value = _given(error.__cause__)
        got = f", got {value}" if value not in words else ""
        context: typer.Context | None = getattr(error, "ctx", None)
        look = f"; see `{context.command_path} --help`" if context is not None else ""
        local.fail(f"{words[0].lower()}{words[1:]}{got}{look}", status=error.exit_code)


def _given(cause: BaseException | None) -> str:
    """What was given where a value was expected: an option's type is pydantic's to check."""
    from pydantic import ValidationError

    return repr(cause.errors()[0]["input"]) if isinstance(cause, ValidationError) else ""


app = typer.Typer(
    name="mqttbeam",
    cls=_Commands,
    help="MQTT device data into Pub/Sub and BigQuery, and commands back to the devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(broker.app, name="broker")
app.add_typer(devices.app, name="devices")
app.add_typer(templates.app, name="templates")
app.add_typer(create.app, name="local")
app.command("run")(local.run)
app.command("send")(local.send)
app.command("query")(local.query)
app.command("tail")(local.tail)
app.command("archive")(archive.archive)
app.command("plan")(plan.plan)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def run() -> None:
    """Do what the arguments say, and end with the status of that."""
    # None: it was closed before we began, and nothing is printed to it.
    if sys.stdout is not None:
        sys.stdout = told_apart(sys.stdout)
    try:
        app()
    except OutputClosed:
        sys.exit(0)
    except OutputFailed as error:
        typer.echo(f"error: standard output: {error}", err=True)
        sys.exit(1)
