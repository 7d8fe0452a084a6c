"""A run from its first process to its last figure.

    start    servers -> pipelines and devices -> taps
    run      until the duration is over, or Ctrl-C
    end      commands -> devices -> wait until all is stored -> pipelines -> figures -> servers

A second Ctrl-C leaves out what takes time: nothing is waited for, and no figures are made.
"""

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from localcloud import prism
from localcloud.commanding import outcome_line
from localcloud.devices import host
from localcloud.devices import journal as journals
from localcloud.devices.recording import Recording
from localcloud.devices.sensor import fleet
from localcloud.endpoints import (
    ARCHIVE,
    STATE_FILE,
    STATE_FOLDER,
    Endpoints,
    RunningCloud,
    without_endpoints,
)
from localcloud.run.archive import Archive, ArchiveCounter
from localcloud.run.children import Child, Children, Interrupted, own_environment
from localcloud.run.commander import Commander
from localcloud.run.display import Display, Snapshot, display_for
from localcloud.run.figures import Figures, judge, lost_ids
from localcloud.run.jobs import Devices, commands_command, telemetry_command, warehouse_command
from localcloud.run.lifetime import Interrupts, RunFailed, alone_in
from localcloud.run.rate import Rate
from localcloud.run.servers import BROKER_STORE, Servers, make_credentials
from localcloud.run.settings import RunSettings
from localcloud.run.taps import CommandsTap, DeadLettersTap, Puller, ResultsTap, TelemetryTap
from localcloud.run.warehouse import RowCounter, Warehouse

TICK_SECONDS = 0.25
OUTCOMES_TIMEOUT_SECONDS = 10.0
DEVICES_STOP_SECONDS = 40.0
PIPELINE_START_SECONDS = 90.0
# A pipeline gives itself 30 s to finish what it has read.
PIPELINES_STOP_SECONDS = 40.0
# Draining is given up when nothing more has arrived for so long, or after this time in all.
STALLED_SECONDS = 20.0
DRAIN_SECONDS = 180.0
ASK_AGAIN_SECONDS = 1.0
# What a person sees starting, in the order in which it gets ready.
BROKER, PUBSUB, BIGQUERY, PIPELINES, DEVICES = PARTS = (
    "broker", "Pub/Sub", "BigQuery", "pipelines", "devices",
)  # fmt: skip
_TELEMETRY_RUNNING = re.compile("telemetry: running")


class _HasError(Protocol):
    error: Exception | None


def run(
    settings: RunSettings,
    *,
    tell: Callable[[str], None],
    folder: Path = STATE_FOLDER,
    program: str = "mqttbeam",
) -> int:
    """Run a local cloud; return the exit status: 0, or 1 if BigQuery or the archive lacks any.

    `tell` gets the figures as a line of JSON, if there is a duration. Raises RunFailed,
    ChildEnded, PrismUnavailable, RecordingError and what the run's own clients raise.
    """
    interrupts = Interrupts()
    with alone_in(folder), interrupts.listening():
        prism.ensure()
        device_ids = _device_ids(settings)
        _prepare(folder, keep=settings.keep)
        with ExitStack() as stack:
            display = stack.enter_context(display_for(program=program))
            children = stack.enter_context(
                Children(logs=folder / "logs", interrupted=interrupts.stop)
            )
            try:
                figures = _Run(
                    settings, folder, device_ids, children, display, interrupts, stack
                ).run()
            except Interrupted:
                figures = None
            finally:
                (folder / STATE_FILE).unlink(missing_ok=True)
        return _tell(figures, settings, tell)


def _tell(figures: Figures | None, settings: RunSettings, tell: Callable[[str], None]) -> int:
    if figures is None:
        sys.stderr.write("stopped; no figures were made\n")
        return 1 if settings.duration_seconds is not None else 0
    if settings.duration_seconds is not None:
        tell(figures.to_json())
    else:
        sys.stderr.write(f"stopped: {figures.in_words()}\n")
    return 1 if figures.lost or figures.archive_lost else 0


def _device_ids(settings: RunSettings) -> tuple[str, ...]:
    """Return the ids of all devices, this machine's first; say what a recording leaves out."""
    if settings.recording is not None:
        recording = Recording(
            settings.recording,
            device_column=settings.device_column,
            time_column=settings.time_column,
        )
        sys.stderr.writelines(f"{line}\n" for line in recording.told)
        others = recording.device_ids
    else:
        sensors = fleet(seed=settings.seed, count=settings.sensor_count)
        others = tuple(sensor.device_id for sensor in sensors)
    return tuple(dict.fromkeys((host.device_id(), *others)))


def _prepare(folder: Path, *, keep: bool) -> None:
    shutil.rmtree(folder / "logs", ignore_errors=True)
    if not keep:
        for stored in ("bigquery", ARCHIVE):
            shutil.rmtree(folder / stored, ignore_errors=True)
    # The broker's store is of one run, as Pub/Sub's memory is, whatever is kept.
    for file in folder.glob(f"{BROKER_STORE}*"):
        file.unlink()
    (folder / "bigquery").mkdir(exist_ok=True)


class _Run:
    """One run: what is started, what is seen, and the order of things."""

    def __init__(
        self,
        settings: RunSettings,
        folder: Path,
        device_ids: tuple[str, ...],
        children: Children,
        display: Display,
        interrupts: Interrupts,
        stack: ExitStack,
    ) -> None:
        self._settings, self._folder = settings, folder
        self._device_ids = device_ids
        self._children, self._display, self._interrupts = children, display, interrupts
        self._stack = stack
        self._started, self._began = time.monotonic(), time.time()
        self._end: float | None = None
        self._state, self._ending = "starting", False
        self._awaited: list[str] = []
        self._run_id = secrets.token_hex(4)
        self._telemetry = TelemetryTap(self._run_id)
        self._commands = CommandsTap()
        self._results = ResultsTap()
        self._dead_letters = DeadLettersTap()
        self._threads: list[_HasError] = []
        self._published_rate, self._rows_rate = Rate(), Rate()
        self._said_first_row = False

    def run(self) -> Figures | None:
        """Run it; None where it was stopped in a hurry or before it had begun."""
        parts = dict.fromkeys(PARTS, False)
        self._display.show_start(parts)
        credentials = make_credentials(self._folder, self._device_ids)
        env = without_endpoints(own_environment())
        # What takes long is started as soon as what it needs is there.
        servers = Servers(self._children, folder=self._folder, credentials=credentials, env=env)
        broker, pubsub = servers.wait_for_messaging()
        self._display.show_start(parts := parts | {BROKER: True, PUBSUB: True})
        env["PUBSUB_EMULATOR_HOST"] = pubsub
        telemetry, commands = (
            self._children.start(name, command(broker, credentials), environment=env)
            for name, command in (("telemetry", telemetry_command), ("commands", commands_command))
        )
        bigquery, storage = servers.wait_for_bigquery()
        self._display.show_start(parts | {BIGQUERY: True})
        endpoints = Endpoints(
            broker=broker, pubsub=pubsub, bigquery=bigquery, bigquery_storage=storage
        )
        env |= endpoints.environment()
        self._archive = Archive(self._folder / ARCHIVE)
        warehouse = self._children.start(
            "warehouse", warehouse_command(self._folder / ARCHIVE), environment=env
        )
        pipelines = [telemetry, commands, warehouse]
        # Before it subscribes, the broker has nobody to keep a message for.
        self._children.wait_for_line(
            telemetry, _TELEMETRY_RUNNING, timeout_seconds=PIPELINE_START_SECONDS
        )
        self._devices = Devices(
            self._children,
            self._settings,
            endpoints=endpoints,
            credentials=credentials,
            journal=self._folder / "journal",
            run_id=self._run_id,
            env=env,
        )
        self._look_on(endpoints)
        RunningCloud(
            endpoints=endpoints,
            runner_pid=os.getpid(),
            run_id=self._run_id,
            devices=self._device_ids,
        ).write(self._folder)

        if not self._watch(lambda: self._devices.is_publishing):
            raise Interrupted
        commander = Commander(endpoints.pubsub, self._device_ids, seed=self._settings.seed)
        self._threads.append(commander)
        self._stack.callback(commander.close)
        self._state = "running"
        if self._settings.duration_seconds is not None:
            self._end = time.monotonic() + self._settings.duration_seconds
        self._watch(lambda: self._end is not None and time.monotonic() >= self._end)

        self._state, self._end, self._ending = "stopping", None, True
        self._devices.be_quiet()
        commander.close()
        self._watch(self._all_commands_told, timeout_seconds=OUTCOMES_TIMEOUT_SECONDS, ending=True)
        self._stop("devices", [self._devices.child], DEVICES_STOP_SECONDS)
        if self._interrupts.hurry() or not self._devices.journal.exists():
            return None
        journal = journals.read(self._devices.journal)
        self._state = "draining"
        self._drain(journal)
        self._state = "stopping"
        self._show()
        self._stop("pipelines", pipelines, PIPELINES_STOP_SECONDS)
        if self._interrupts.hurry():
            return None
        figures = self._judge(journal)
        self._children.stop(servers.all)
        self._state = "stopped"
        self._show()
        return figures

    def _look_on(self, endpoints: Endpoints) -> None:
        self._warehouse = Warehouse(endpoints.bigquery, run_id=self._run_id, since=self._began)
        takes: dict[str, Callable[[Any], None]] = {
            "telemetry-run": self._telemetry.take,
            "commands-run": self._commands.take,
            "command-results-run": self._results.take,
            "dead-letters-run": self._dead_letters.take,
        }
        pullers = [Puller(endpoints.pubsub, name, take) for name, take in takes.items()]
        self._rows = RowCounter(self._warehouse)
        archive = ArchiveCounter(self._archive)
        for counter in (self._rows, archive):
            self._stack.callback(counter.close)
        for puller in pullers:
            self._stack.callback(puller.close)
        self._threads += [*pullers, self._rows, archive]

    def _watch(
        self, until: Callable[[], bool], *, timeout_seconds: float = 1e9, ending: bool = False
    ) -> bool:
        """Show the run until something is so, the time is over or it is to stop.

        Raises ChildEnded, and RunFailed for an error of a thread that looks on. Returns whether
        it became so. With `ending` it takes a second Ctrl-C to cut it short.
        """
        cut_short = self._interrupts.hurry if ending else self._interrupts.stop
        deadline = time.monotonic() + timeout_seconds
        while not cut_short() and time.monotonic() < deadline:
            self._children.check()
            for thread in self._threads:
                if thread.error is not None:
                    raise RunFailed(f"the run lost its view: {thread.error}") from thread.error
            self._show()
            if until():
                return True
            time.sleep(TICK_SECONDS)
        return False

    def _all_commands_told(self) -> bool:
        return (
            self._commands.sent <= self._results.outcomes.keys()
            and self._devices.count("commands_received") >= self._results.accepted
        )

    def _stop(self, what: str, children: list[Child], timeout_seconds: float) -> None:
        killed = self._children.stop(
            children, timeout_seconds=timeout_seconds, hurry=self._interrupts.hurry
        )
        if killed and not self._interrupts.hurry():
            names = ", ".join(child.name for child in killed)
            self._display.say(f"{what}: {names} did not stop within {timeout_seconds:.0f} s")

    def _drain(self, journal: journals.Journal) -> None:
        """Wait until all that was acknowledged is stored, or nothing more comes."""
        stores: dict[str, Callable[[], dict[str, int]]] = {
            "BigQuery": self._warehouse.copies,
            "the archive": lambda: self._archive.copies(self._run_id),
        }
        stored = -1, -1
        changed_at = asked_at = time.monotonic()

        def drained() -> bool:
            nonlocal stored, changed_at, asked_at
            now = time.monotonic()
            dead = self._dead_letter_ids()
            counts = self._rows.rows + len(dead), self._archive.messages + len(dead)
            if counts != stored:
                stored, changed_at = counts, now
            if now - changed_at > STALLED_SECONDS:
                return True
            # Asking for every id costs something, and is no use before there are enough.
            if min(counts) < len(journal.acknowledged):
                each = zip(stores, counts, strict=True)
                self._awaited = [name for name, n in each if n < len(journal.acknowledged)]
                return False
            if now - asked_at < ASK_AGAIN_SECONDS:
                return False
            asked_at = now
            self._awaited = [
                name
                for name, copies in stores.items()
                if lost_ids(journal, stored=copies(), dead=dead)
            ]
            return not self._awaited

        self._watch(drained, timeout_seconds=DRAIN_SECONDS, ending=True)

    def _dead_letter_ids(self) -> set[str]:
        """What the topic of dead letters showed, and what the table did when last looked at."""
        return self._dead_letters.ids | self._rows.dead_letters.ids

    def _judge(self, journal: journals.Journal) -> Figures:
        return judge(
            journal,
            copies=self._warehouse.copies(),
            archived=self._archive.copies(self._run_id),
            dead_letters=self._dead_letters.ids | self._warehouse.dead_letters().ids,
            pubsub_messages=self._telemetry.messages,
            commands_sent=len(self._commands.sent),
            commands_accepted=self._results.accepted,
            latencies=self._telemetry.latencies,
        )

    def _state_in_words(self) -> str:
        if self._state == "running" and self._devices.count("recording_ended"):
            return "running, the recording is at its end"
        if self._state == "draining" and self._awaited:
            return f"draining, waiting for {' and '.join(self._awaited)}"
        return self._state

    def _show(self) -> None:
        now = time.monotonic()
        published = self._devices.count("published")
        rows = self._rows.rows
        if not self._said_first_row and self._rows.first_row_at is not None:
            self._said_first_row = True
            after = self._rows.first_row_at - self._started
            self._display.say(f"first row in BigQuery after {after:.1f} s")
        self._display.show(
            Snapshot(
                state=self._state_in_words(),
                ending=self._ending,
                seconds=now - self._started,
                seconds_left=None if self._end is None else self._end - now,
                devices=len(self._device_ids),
                connected=self._devices.count("connected"),
                published=published,
                published_per_second=self._published_rate.per_second(
                    self._devices.counted_at, published
                ),
                pubsub_messages=self._telemetry.messages,
                bigquery_rows=rows,
                bigquery_rows_per_second=self._rows_rate.per_second(self._rows.counted_at, rows),
                archived=self._archive.messages,
                archive_files=self._archive.files,
                dead_letters=len(self._dead_letter_ids()),
                last_dead_letter=self._rows.dead_letters.last_reason
                or self._dead_letters.last_reason,
                commands_sent=len(self._commands.sent),
                commands_received=self._devices.count("commands_received"),
                outcomes=self._results.counts(),
                recent_outcomes=[
                    f"{each.device_id}  {outcome_line(each)}" for each in self._results.recent()
                ],
                latency_p50_ms=self._telemetry.latencies.percentile(50),
                latency_p99_ms=self._telemetry.latencies.percentile(99),
                example_device=self._device_ids[-1],
            )
        )
