"""Child processes of a measurement: started with a log, waited for, and ended by their own id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"


class BenchError(Exception):
    """A measurement that cannot go on; the message says which process, and what it said last."""


def start(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process that writes both of its streams to ``log``.

    It gets a session of its own, so that a Ctrl-C reaches this program alone, which then ends its
    children in order.
    """
    with log.open("ab") as stream:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )


@contextmanager
def own_broker(config: Path, *, log: Path | None = None) -> Iterator[tuple[int, list[str]]]:
    """Runs the embedded broker on a configuration file; its process and its listeners' URLs.

    ``log``: where its log goes, in place of standard error.
    """
    with ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker.server", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=None if log is None else stack.enter_context(log.open("wb")),
            text=True,
        )
    try:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().split()[1:]
    finally:
        process.terminate()
        process.wait()


def stop(process: subprocess.Popen[bytes], *, grace_seconds: float = 20.0) -> None:
    """Ends a process and all that descends from it: SIGTERM first, SIGKILL after the grace."""
    family = family_of(process.pid)
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    for member in family:
        # psutil remembers the creation time, so an id that was given out again is left alone.
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def family_of(pid: int) -> list[psutil.Process]:
    """The process and all its living descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Waits for a condition.

    Raises:
      BenchError: when it does not hold in time; ``what`` names it.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, log: Path) -> None:
    """Waits until ``process`` listens on ``port``.

    Raises:
      BenchError: when it ends first or does not listen within 30 s; with the end of its log.
    """

    def listening() -> bool:
        if process.poll() is not None:
            raise BenchError(f"ended at start with status {process.returncode}:\n{tail(log)}")
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, port)) == 0

    wait_until(listening, seconds=30, what=f"a listener on port {port} ({log.name})")


def tail(log: Path, *, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return "(no output)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
