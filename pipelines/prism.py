"""Prism, Beam's local runner: where its binary is kept, and a process of it that is our own.

Beam would start Prism by itself; then Ctrl-C in a terminal would kill it with us, before the
pipeline has ended, and a killed pipeline would leave it behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from pipelines.errors import RunnerDied, RunnerMissing

_ENDPOINT = re.compile(r"endpoint=(\S+:\d+)")
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_LAST_BYTES = 100_000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def cached_path() -> Path:
    """The place of Prism for the installed Beam version; it need not be there yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mqttbeam" / f"prism-{version('apache-beam')}" / "prism"


class Prism:
    """A Prism process on loopback, which dies with ours.

    Args:
      path: the binary.

    Raises:
      RunnerMissing: there is no binary at ``path``.
      RunnerDied: it did not come up.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise RunnerMissing(
                f"the DirectRunner needs Beam's Prism, and there is none at {path}: run"
                " `python -m localcloud.prism`, which fetches or builds it once, or give"
                " --prism_location=PATH"
            )
        self._log = tempfile.TemporaryFile(  # noqa: SIM115  # stop() closes it
            mode="w+", prefix="prism-", suffix=".log"
        )
        self._process = subprocess.Popen(
            [str(path), "-job_port=0", "-serve_http=false", "-log_kind=text", "-log_level=info"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        try:
            self.endpoint = self._wait_for_endpoint()
        except BaseException:  # Ctrl-C too must leave no runner behind; raised again
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def death(self) -> str:
        """Returns how the process ended; with its last words, where it had the time for some."""
        code = self._process.poll()
        if code is None:
            return f"Prism is running{self._last_words()}"
        if code < 0:
            return f"Prism was killed by signal {-code}"
        return f"Prism ended with status {code}{self._last_words()}"

    def wait_for_death(self, timeout_seconds: float) -> bool:
        """Waits up to so long and returns whether the process has ended. Any thread."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        return not self.running

    def stop(self) -> None:
        """Ends the process."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _wait_for_endpoint(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            match = _ENDPOINT.search(self._output())
            if match is not None:
                return match[1]
            if not self.running:
                break
            time.sleep(0.01)
        raise RunnerDied(f"Prism did not come up in {_START_SECONDS:g} s: {self.death()}")

    def _output(self) -> str:
        # pread leaves the position alone, where the process goes on writing.
        size = os.fstat(self._log.fileno()).st_size
        start = max(0, size - _LAST_BYTES)
        return os.pread(self._log.fileno(), _LAST_BYTES, start).decode(errors="replace")

    def _last_words(self) -> str:
        with contextlib.suppress(ValueError, OSError):
            lines = self._output().strip().splitlines()[-3:]
            return "; it last said: " + " | ".join(lines) if lines else ""
        return ""


def _die_with_parent() -> None:
    # Between fork and exec, where another thread's locks may be held for ever.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
