"""Standard output that ends: a pipe's end is quiet, a full disk is told, and so is another pipe."""

import os
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from localcloud.endpoints import STATE_FOLDER, TOPICS, Endpoints, RunningCloud
from localcloud.run.children import Children, own_environment
from localcloud.subscriber import PubSub
from tests.cli.commandline import PROGRAM

FULL = Path("/dev/full")


def _start(code: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tail_ends_well_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    with Children(logs=tmp_path / "logs") as children:
        command = [sys.executable, "-m", "localcloud.pubsub", "--port", "0"]
        server = children.start("pubsub", command, environment=own_environment())
        ready = re.compile(r"local Pub/Sub ready on (\S+)")
        address = children.wait_for_line(server, ready, timeout_seconds=30)[1]
        folder = tmp_path / STATE_FOLDER
        folder.mkdir()
        nowhere = "127.0.0.1:1"
        RunningCloud(
            endpoints=Endpoints(
                broker=nowhere, pubsub=address, bigquery=nowhere, bigquery_storage=nowhere
            ),
            runner_pid=os.getpid(),
            run_id="test",
            devices=("a",),
        ).write(folder)
        with PubSub(address) as pubsub:
            pubsub.create_all(TOPICS, {})
            tail = _start("main()", "tail", "telemetry", cwd=tmp_path)
            assert tail.stdout is not None
            assert tail.stderr is not None
            with tail.stderr:
                publishing = _Publishing(pubsub)
                publishing.until(tail.stdout.fileno())
                tail.stdout.readline()
                tail.stdout.close()
                publishing.until_ended(tail)
                assert (tail.wait(), tail.stderr.read()) == (0, "")


class _Publishing:
    """Messages for whoever follows the topic: one that comes too early is told to nobody."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    def until(self, descriptor: int) -> None:
        """Publish until there is something to be read."""
        for _ in range(200):
            self._pubsub.publish("telemetry", b"{}", {"deviceId": "a"})
            if select.select([descriptor], [], [], 0.1)[0]:
                return
        pytest.fail("tail said nothing")

    def until_ended(self, process: subprocess.Popen[str]) -> None:
        """Publish until a process has ended."""
        for _ in range(200):
            self._pubsub.publish("telemetry", b"{}", {"deviceId": "a"})
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            return
        pytest.fail("tail went on although nobody reads it")


def test_a_broken_pipe_of_our_own_is_an_error(tmp_path: Path) -> None:
    code = "@app.command()\ndef broken():\n    raise BrokenPipeError(32, 'Broken pipe')\nmain()"
    process = _start(code, "broken", cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert "a connection to another process broke" in stderr


PRINTING = pytest.mark.parametrize(
    "arguments", [["plan", "--devices", "10"], ["plan", "--help"], ["--help"]], ids=" ".join
)


@PRINTING
def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = _run(arguments, output, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not FULL.exists(), reason="has no file that is always full")
@PRINTING
def test_a_full_disk_is_told_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    with FULL.open("wb") as output:
        done = _run(arguments, output, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


def test_without_standard_output_a_command_runs(tmp_path: Path) -> None:
    code = "import os; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    program = ["-c", f"{PROGRAM}main()", "plan", "--devices", "10"]
    process = _start(code, *program, cwd=tmp_path)
    assert (*process.communicate(timeout=60), process.returncode) == ("", "", 0)


def _run(arguments: list[str], output: BinaryIO, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + "main()", *arguments],
        cwd=cwd,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
