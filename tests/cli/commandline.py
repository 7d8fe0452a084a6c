"""The command line `mqttbeam` as a real process, in a folder of the test's."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
PROGRAM = (
    f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
    "from cli.commands import app; from cli.main import main\n"
)
"""Reaches the program from any folder, whether it is installed or not."""
_SECONDS = 60


def mqttbeam(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, in a process that a warm one forks (`tests.cli.warm`)."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        status = _ask(
            arguments=arguments,
            folder=str(cwd),
            environment=dict(os.environ),
            out=str(out),
            err=str(err),
        )
        return subprocess.CompletedProcess(arguments, status, out.read_text(), err.read_text())


def assert_refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    """One line on standard error that begins so, nothing on standard output, and exit status 2."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def _ask(**request: Any) -> int:
    warm = _warm()
    assert warm.stdin is not None
    warm.stdin.write(json.dumps(request) + "\n")
    warm.stdin.flush()
    return int(_answer(warm))


@cache
def _warm() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.warm"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    assert _answer(process) == "ready"
    return process


def _answer(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _SECONDS)
    if not ready:
        process.kill()
        raise AssertionError(f"no end within {_SECONDS} s")
    return json.loads(process.stdout.readline())
