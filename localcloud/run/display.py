"""How a run looks: a live table on a terminal, a line now and then elsewhere."""

import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.box import HORIZONTALS
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

LINE_SECONDS = 5.0
_HOW_TO_STOP = "Ctrl-C stops it"
# Short, so that it can be copied in one piece from a terminal of 80 columns.
_EXAMPLE_QUERY = "SELECT COUNT(*) AS n FROM mqttbeam.telemetry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment; `state` is in words.

    `ending`: nothing new is begun any more, so there are no rates, and nothing to be tried.
    """

    state: str
    ending: bool
    seconds: float
    seconds_left: float | None
    devices: int
    connected: int
    published: int
    published_per_second: float
    pubsub_messages: int
    bigquery_rows: int
    bigquery_rows_per_second: float
    archived: int
    archive_files: int
    dead_letters: int
    last_dead_letter: str
    commands_sent: int
    commands_received: int
    outcomes: Mapping[str, int]
    recent_outcomes: Sequence[str]
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    example_device: str


class Display(Protocol):
    """Shows a run; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Say something once."""

    def show_start(self, parts: Mapping[str, bool]) -> None:
        """Show which parts are ready, while there is nothing else to be shown."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how things stand."""


def start_line(parts: Mapping[str, bool]) -> str:
    """Return in one line which parts are ready and which are starting."""
    ready = [part for part, is_ready in parts.items() if is_ready]
    rest = [part for part, is_ready in parts.items() if not is_ready]
    words = [f"{', '.join(ready)} ready"] * bool(ready)
    return "; ".join([*words, *[f"starting {', '.join(rest)}"] * bool(rest)])


def progress_line(snapshot: Snapshot) -> str:
    """Return a snapshot as one line."""
    outcomes = ", ".join(f"{count} {name}" for name, count in snapshot.outcomes.items())
    rate = "" if snapshot.ending else f" ({snapshot.published_per_second:.0f}/s)"
    return (
        f"{snapshot.seconds:5.0f} s  {snapshot.state}: "
        f"{snapshot.connected}/{snapshot.devices} devices, "
        f"{snapshot.published} published{rate}, "
        f"{snapshot.bigquery_rows} rows, {snapshot.archived} archived, "
        f"{snapshot.dead_letters} dead letters, "
        f"{snapshot.commands_sent} commands ({outcomes or 'no outcome yet'}), "
        f"latency p50 {_milliseconds(snapshot.latency_p50_ms)} "
        f"p99 {_milliseconds(snapshot.latency_p99_ms)}"
    )


def start_table(parts: Mapping[str, bool]) -> RenderableType:
    """Return which parts are ready as what a terminal shows."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", min_width=10)
    rows.add_column()
    for part, is_ready in parts.items():
        rows.add_row(
            part, Text("ready", style="green") if is_ready else Spinner("dots", "starting")
        )
    return Panel(rows, title="mqttbeam  starting", subtitle=_HOW_TO_STOP, title_align="left")


def table(snapshot: Snapshot, *, program: str) -> RenderableType:
    """Return a snapshot as what a terminal shows; `program` is the command that works there."""

    def per_second(rate: float) -> str:
        return "" if snapshot.ending else f"{rate:,.0f} a second, "

    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="dim", min_width=10)
    figures.add_column(justify="right", min_width=9)
    figures.add_column(overflow="fold")
    figures.add_row("devices", f"{snapshot.connected}", f"of {snapshot.devices} connected")
    figures.add_row(
        "published",
        f"{snapshot.published:,}",
        f"{per_second(snapshot.published_per_second)}acknowledged by the broker",
    )
    figures.add_row(
        "Pub/Sub",
        f"{snapshot.pubsub_messages:,}",
        f"latency p50 {_milliseconds(snapshot.latency_p50_ms)}, "
        f"p99 {_milliseconds(snapshot.latency_p99_ms)}",
    )
    figures.add_row(
        "BigQuery",
        f"{snapshot.bigquery_rows:,}",
        f"{per_second(snapshot.bigquery_rows_per_second)}rows",
    )
    figures.add_row("archive", f"{snapshot.archived:,}", f"in {snapshot.archive_files:,} files")
    letters = "red" if snapshot.dead_letters else ""
    figures.add_row(
        "dead letters",
        Text(f"{snapshot.dead_letters:,}", style=letters),
        Text(snapshot.last_dead_letter, no_wrap=True, overflow="ellipsis"),
    )
    outcomes = ", ".join(f"{count} {name}" for name, count in snapshot.outcomes.items())
    figures.add_row(
        "commands",
        f"{snapshot.commands_sent:,}",
        f"sent, {snapshot.commands_received:,} received by devices; {outcomes or 'no outcome yet'}",
    )
    for line in snapshot.recent_outcomes:
        figures.add_row("", "", Text(line, style="dim", no_wrap=True, overflow="ellipsis"))
    title = f"mqttbeam  {snapshot.state}  {snapshot.seconds:.0f} s"
    if snapshot.seconds_left is not None:
        title += f", {max(snapshot.seconds_left, 0):.0f} s left"
    if snapshot.ending:
        return Panel(figures, title=title, title_align="left")
    tries = Text(
        f"{program} send {snapshot.example_device} report '{{\"interval_seconds\": 5}}'\n"
        f"{program} query '{_EXAMPLE_QUERY}'\n"
        f"{program} tail telemetry\n"
        f"{program} tail dead-letters",
        overflow="fold",
    )
    return Group(
        Panel(figures, title=title, subtitle=_HOW_TO_STOP, title_align="left"),
        # No lines at the sides: they would be copied with a command that is wrapped.
        Panel(
            tries,
            title="try in a second terminal, in this folder",
            title_align="left",
            box=HORIZONTALS,
        ),
    )


class LiveDisplay:
    """The table, redrawn in place."""

    def __init__(self, console: Console, *, program: str) -> None:
        self._console = console
        self._program = program
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(_without_echo())
        self._stack.enter_context(self._live)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(line))

    def show_start(self, parts: Mapping[str, bool]) -> None:
        """Redraw the table of parts."""
        self._live.update(start_table(parts))

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the table."""
        self._live.update(table(snapshot, program=self._program))


class PlainDisplay:
    """Lines on standard error."""

    def __init__(self) -> None:
        self._said = -LINE_SECONDS
        self._state = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def show_start(self, parts: Mapping[str, bool]) -> None:
        """Print a line, once something is ready: that it starts was said before."""
        if any(parts.values()):
            self.say(start_line(parts))

    def show(self, snapshot: Snapshot) -> None:
        """Print a line if the last one was a while ago, or the state has changed."""
        now = time.monotonic()
        if now - self._said >= LINE_SECONDS or snapshot.state != self._state:
            self._said, self._state = now, snapshot.state
            self.say(progress_line(snapshot))


def display_for(*, program: str) -> Display:
    """Return the table where standard output is a terminal, lines elsewhere."""
    console = Console()
    return LiveDisplay(console, program=program) if console.is_terminal else PlainDisplay()


@contextmanager
def _without_echo() -> Iterator[None]:
    """Keep the terminal from writing `^C`, or what is typed, into the table."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"
