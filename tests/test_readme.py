"""README's commands are run as they stand there, in a folder of their own.

The folder links to everything in this one, so that a run's state is not the developer's.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
FIRST_ROW_SECONDS = 90  # 20 on a machine that does nothing else; this is no timed test

SET_UP = PROJECT / ".venv" / ".set-up"


def _is_set_up() -> bool:
    """Whether the make of a test has nothing to set up: it would do so in this environment, and
    point it to the test's folder.
    """
    needed = (PROJECT / "requirements.lock", PROJECT / "pyproject.toml")
    return SET_UP.exists() and all(
        SET_UP.stat().st_mtime >= file.stat().st_mtime for file in needed
    )


pytestmark = pytest.mark.skipif(
    not _is_set_up(),
    reason="the environment was not made by make, or is older than its lock: run `make test`",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for entry in PROJECT.iterdir():
        if entry.name not in (".mqttbeam", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


def _run(command: str, folder: Path, *, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip


def _wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.1)


@pytest.fixture
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A `make run` with rows in BigQuery, in a terminal's process group; stopped by Ctrl-C."""
    errors = folder / "stderr"
    with errors.open("w") as out:
        process = subprocess.Popen(
            ["make", "run"], cwd=folder, stdout=subprocess.PIPE, stderr=out, text=True,
            start_new_session=True,
        )  # fmt: skip

    def first_row() -> bool:
        assert process.poll() is None, errors.read_text()
        return "first row in BigQuery after" in errors.read_text()

    try:
        _wait_for(first_row, seconds=FIRST_ROW_SECONDS)
        yield process, folder
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=90)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def test_every_command_is_run_by_a_test() -> None:
    known = re.compile(
        r"make (run|test)( .*)?|\.venv/bin/mqttbeam (send|query|tail|archive)( .*)?|.* --help"
    )
    assert COMMANDS
    assert [command for command in COMMANDS if not known.fullmatch(command)] == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.endswith("--help")])
def test_help_is_shown(command: str, folder: Path) -> None:
    done = _run(command, folder)
    assert done.returncode == 0, done.stderr
    assert "xample" in done.stdout or "Usage" in done.stdout


def test_make_test_runs_the_tests() -> None:
    done = _run("make -n test", PROJECT)
    assert done.returncode == 0
    assert "-m pytest" in done.stdout


@pytest.mark.parametrize("name", ['it\'s "a" file.csv', "$HOME $(HOME) `id`;.csv"])
def test_a_file_of_any_name_can_be_named_to_make(name: str, folder: Path) -> None:
    done = _run(f"make run {shlex.quote(f'INPUT={name}')}", folder)
    assert f"error: INPUT (--input) is {name}: there is no such file\n" in done.stderr
    assert done.stdout == ""


def test_a_value_that_is_none_is_told_with_make_s_own_variable(folder: Path) -> None:
    done = _run("make run DURATION=abc", folder)
    assert done.stderr.startswith("error: DURATION (--duration) is 'abc': expected seconds")
    # make's own status for a recipe that failed, as README says.
    assert done.returncode == 2


@pytest.mark.timeout(240)
def test_make_run_serves_the_commands_of_the_second_terminal_and_stops_by_ctrl_c(
    running: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = running
    state = json.loads((folder / ".mqttbeam" / "run.json").read_text())
    tries = [each for each in COMMANDS if each.startswith(".venv/bin/mqttbeam ")]
    tries = [each for each in tries if not each.endswith("--help")]
    assert len(tries) == 5
    # In two terminals: one of them waits for a dead letter meanwhile.
    with ThreadPoolExecutor(2) as terminals:
        answers = list(terminals.map(lambda command: _run(command, folder), tries))
    for command, done in zip(tries, answers, strict=True):
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert done.stdout.strip()
        if " send " in command:
            assert done.stdout.startswith(("accepted", "acknowledged"))
    second = _run(".venv/bin/mqttbeam run --duration 1", folder)
    assert second.returncode == 1
    assert "runs in this folder already" in second.stderr
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=90)
    assert ", 0 lost," in (folder / "stderr").read_text()
    assert not (folder / ".mqttbeam" / "run.json").exists()
    for endpoint in state["endpoints"].values():
        host, _, port = endpoint.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.timeout(240)
def test_a_run_with_a_duration_ends_with_its_figures_and_loses_nothing(folder: Path) -> None:
    command = next(each for each in COMMANDS if "DURATION=" in each)
    done = _run(command, folder, seconds=200)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["lost"] == 0
    assert figures["published"] == figures["bigquery_distinct"] + figures["dead_letters"]
    assert figures["published"] >= figures["pubsub_messages"] >= figures["bigquery_distinct"] > 0
    # Dead letters without a row are archived, where they came as far as Pub/Sub.
    assert figures["archive_lost"] == 0
    assert figures["published"] >= figures["archive_distinct"] >= figures["bigquery_distinct"]
    assert figures["commands_sent"] > 0
    assert figures["commands_accepted"] == figures["commands_received"] == figures["commands_sent"]
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"]
