"""Starts the local BigQuery, waits until it is ready, and stops it."""

import contextlib
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_READY = re.compile(rb"ready rest=(\S+) grpc=(\S+)\n")


class BigQueryNotReady(Exception):
    """The process ended, or did not say that it is ready, within its time."""


class BigQueryProcess:
    """A running local BigQuery: `rest` and `grpc` are its addresses, `host:port`."""

    def __init__(self, process: subprocess.Popen[bytes], rest: str, grpc: str) -> None:
        self.process = process
        self.rest = rest
        self.grpc = grpc

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        log: Path,
        rest_port: int = 0,
        grpc_port: int = 0,
        timeout_seconds: float = 30.0,
    ) -> Self:
        """Start it and wait until it serves; its stderr is appended to the file `log`.

        Raises BigQueryNotReady, with the end of the log.
        """
        with log.open("ab") as stderr:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "localcloud.bigquery"),
                    *("--data-dir", str(data_dir)),
                    *("--rest-port", str(rest_port), "--grpc-port", str(grpc_port)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        left = timeout_seconds
        line = b""
        while left > 0 and select.select([process.stdout], [], [], left)[0]:
            line = process.stdout.readline()
            if not line or (ready := _READY.fullmatch(line)):
                break
            left = deadline - time.monotonic()
        if line and ready:
            return cls(process, ready[1].decode(), ready[2].decode())
        process.kill()
        process.wait()
        process.stdout.close()
        tail = log.read_text(errors="replace")[-2000:]
        raise BigQueryNotReady(f"the local BigQuery is not ready ({log}):\n{tail}")

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop it cleanly; what does not stop in time is killed."""
        self.process.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_bigquery(data_dir: Path, *, log: Path) -> Iterator[BigQueryProcess]:
    """Start it for the length of a `with` block."""
    process = BigQueryProcess.start(data_dir, log=log)
    try:
        yield process
    finally:
        process.stop()
