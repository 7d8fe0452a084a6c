"""What a measurement asks of a peer."""

from __future__ import annotations

import enum
import subprocess
from abc import ABC, abstractmethod

from bench.processes import BenchError, start, stop, tail
from bench.services import Endpoints


class Direction(enum.Enum):
    """Which way messages go."""

    TELEMETRY = "telemetry"
    COMMANDS = "commands"


class Peer(ABC):
    """A program that carries messages one way between the broker and Pub/Sub.

    Started, stopped and started again it must resume the same MQTT session, so that what was
    published in between is its backlog.
    """

    name: str

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why it cannot be measured here; None when it can. May build what it needs."""

    @abstractmethod
    def command(self, endpoints: Endpoints) -> list[str]:
        """The command line; files it needs are written to ``endpoints.folder``."""

    def environment(self, endpoints: Endpoints) -> dict[str, str]:
        """What it needs in its environment beside this program's."""
        return endpoints.environment()

    def start(self, endpoints: Endpoints) -> None:
        """Starts it; it need not be connected when this returns."""
        self._log = endpoints.folder / f"{self.name}.log"
        self._process = start(
            self.command(endpoints), log=self._log, environment=self.environment(endpoints)
        )

    @property
    def pid(self) -> int:
        """The process whose whole family is what the peer costs."""
        if self._process is None:
            raise BenchError(f"{self.name} was not started")
        return self._process.pid

    def check(self) -> None:
        """Raises BenchError, with the end of its log, when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise BenchError(
                f"{self.name} ended with status {self._process.returncode}:\n{tail(self._log)}"
            )

    def stop(self) -> None:
        """Ends it with all its children; does nothing when it does not run."""
        if self._process is not None:
            stop(self._process)
            self._process = None
