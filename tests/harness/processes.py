"""Real processes: started with a log, waited for by the line they say, killed by their own id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from localcloud.endpoints import without_endpoints
from tests.harness.waiting import wait_until

START_SECONDS = 60.0


class Process:
    """A process in a session of its own; standard output and error go to one log."""

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = log.stem
        with log.open("ab") as stream:
            # An earlier process may have written to the same log.
            self._start = stream.tell()
            self.popen = subprocess.Popen(
                list(command),
                env=process_environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def said(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_bytes()[self._start :].decode(errors="replace")

    def wait_for(self, pattern: str, *, seconds: float = START_SECONDS) -> re.Match[str]:
        """Waits until it has written what matches the pattern."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            ended = not self.running
            match = re.search(pattern, self.said(), re.MULTILINE)
            if match is not None:
                found.append(match)
            elif ended:
                raise AssertionError(
                    f"{self.name} ended with status {self.popen.returncode}:\n{self.said()}"
                )
            return bool(found)

        wait_until(
            matches, seconds=seconds, what=lambda: f"{self.name}: {pattern!r} in:\n{self.said()}"
        )
        return found[0]

    def wait_for_end(self, *, seconds: float) -> int:
        """Waits for its end and returns the status."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} has not ended within {seconds:g} s:\n{self.said()}"
            ) from None

    def descendants(self, name: str) -> list[psutil.Process]:
        """Its living descendants whose program has that name."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid).children(recursive=True)
            return [item for item in found if item.name() == name]
        return []

    def kill(self) -> None:
        """``kill -9``, this process alone."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, *, seconds: float = 40.0) -> None:
        """Asks it to end and reaps it; what outlives that is killed, its descendants too."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid).children(recursive=True)
        if self.running:
            self.popen.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        if self.running:
            self.kill()
        for member in family:
            # psutil remembers when it began: an id that was given out again is left alone.
            with suppress(psutil.NoSuchProcess):
                member.kill()


def process_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Our environment without endpoints of other clouds, our Python first on the path."""
    folder = str(Path(sys.executable).parent)
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    return {
        **without_endpoints(os.environ),
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Processes:
    """Starts processes with logs in a folder, and leaves none behind; a context manager."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def stop_all(self) -> None:
        # Those that were started last depend on the others.
        for process in reversed(self._all):
            process.stop()

    def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Process:
        process = Process(command, log=self.logs / f"{name}.log", environment=environment)
        self._all.append(process)
        return process
