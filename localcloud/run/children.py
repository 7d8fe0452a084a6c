"""The processes of a run: each in a session of its own, with a log of its own.

A Ctrl-C in the terminal reaches only the runner, which stops the others in its own order. Where
the runner is killed, the watchdog stops them. A process that ends unasked, the watchdog too, is an
error that names it, its log and its last lines.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from localcloud.run.watchdog import send

TAIL_LINES = 15
# What is still running when the context ends was not stopped in its order: something broke.
EXIT_SECONDS = 5.0


class ChildEnded(Exception):
    """A process of the run ended unasked; the message names it and shows its last lines."""


class Interrupted(Exception):
    """The run was asked to stop while it was starting."""


class Child:
    """One running process. Made by Children.start."""

    def __init__(self, *, name: str, process: subprocess.Popen[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.process = process
        self.stopping = False

    @property
    def pid(self) -> int:
        """Its process id, which is that of its process group too."""
        return self.process.pid

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])


class Children:
    """All processes of a run; a context manager that leaves none behind.

    `interrupted` says whether the run is to stop while it waits for one of them to be ready.
    """

    def __init__(self, *, logs: Path, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._logs = logs
        self._interrupted = interrupted
        self._children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / "watchdog.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "localcloud.run.watchdog"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self._watchdog = Child(name="watchdog", process=process, log=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [child for child in self._children if child.process.poll() is None]
        # A dead watchdog is no news here: it has nobody left to watch.
        with suppress(ChildEnded):
            self.stop(running, timeout_seconds=EXIT_SECONDS)
        assert self._watchdog.process.stdin is not None
        self._watchdog.process.stdin.close()
        self._watchdog.process.wait()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        read_output: bool = False,
    ) -> Child:
        """Start a process; its output goes to `NAME.log`.

        With `read_output` its standard output is a pipe that the caller must read. Raises
        ChildEnded if the watchdog has died.
        """
        log = self._logs / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_output else out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log)
        self._children.append(child)
        self._tell_watchdog(f"+{process.pid}")
        return child

    def wait_for_line(
        self, child: Child, pattern: re.Pattern[str], *, timeout_seconds: float
    ) -> re.Match[str]:
        """Wait until a process has logged a line that matches.

        Raises ChildEnded if it does not, and Interrupted.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for line in child.log.read_text(errors="replace").splitlines():
                if found := pattern.fullmatch(line):
                    return found
            self.check()
            if self._interrupted():
                raise Interrupted
            time.sleep(0.02)
        raise ChildEnded(
            f"{child.name} was not ready within {timeout_seconds:.0f} s. "
            f"The end of {child.log}:\n{child.tail()}"
        )

    def check(self) -> None:
        """Raise ChildEnded if one ended that nobody stopped."""
        for child in (*self._children, self._watchdog):
            if child.process.poll() is not None and not child.stopping:
                raise _ended(child)

    def stop(
        self,
        children: Sequence[Child],
        *,
        timeout_seconds: float = 10.0,
        hurry: Callable[[], bool] = lambda: False,
    ) -> list[Child]:
        """Stop processes by SIGTERM, all at once; return those that had to be killed.

        They are killed after the timeout, or as soon as `hurry` says so. Raises ChildEnded, with
        all of them stopped, if the watchdog has died.
        """
        for child in children:
            child.stopping = True
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while (left := [each for each in children if each.process.poll() is None]) and (
            time.monotonic() < deadline and not hurry()
        ):
            time.sleep(0.02)
        for child in children:
            # What it started itself (Prism) goes with it.
            send([child.pid], signal.SIGKILL)
            child.process.wait()
        for child in children:
            self._tell_watchdog(f"-{child.pid}")
        return left

    def _tell_watchdog(self, line: str) -> None:
        pipe = self._watchdog.process.stdin
        assert pipe is not None
        try:
            # Not by the file object: what it could not write it would try again when closed.
            os.write(pipe.fileno(), f"{line}\n".encode())
        except BrokenPipeError:
            raise _ended(self._watchdog) from None


def _ended(child: Child) -> ChildEnded:
    told = f"{child.name} ended unasked with {_ending(child.process.wait())}."
    if last := child.tail():
        return ChildEnded(f"{told} The end of {child.log}:\n{last}")
    return ChildEnded(f"{told} Its log {child.log} is empty.")


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"signal {signal.Signals(-status).name}"


def own_environment() -> dict[str, str]:
    """Return this process's environment, with its Python first on the path for what it starts."""
    bin_folder = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
