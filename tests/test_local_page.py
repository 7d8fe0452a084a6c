"""docs/local.md is done as it stands there, in its order; only the ports are the system's choice.

It costs some 15 s: five processes are started, one after the other.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config_file import load_config
from localcloud.endpoints import free_ports
from tests.harness.processes import Process, process_environment
from tests.harness.waiting import wait_until

PROJECT = Path(__file__).resolve().parent.parent
PAGE = (PROJECT / "docs" / "local.md").read_text(encoding="utf-8")
PORTS = ("1883", "8085", "9050", "9060")


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def words_of(command: str) -> list[str]:
    first, *rest = shlex.split(command)
    if first == ".venv/bin/mqttbeam":
        return [sys.executable, "-m", "cli", *rest]
    return [sys.executable if first == ".venv/bin/python" else first, *rest]


def done(command: str, folder: Path, environment: dict[str, str]) -> str:
    ended = subprocess.run(
        words_of(command),
        cwd=folder,
        env=process_environment({**environment, "PYTHONPATH": str(PROJECT)}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, (command, ended.stderr)
    return ended.stdout


@pytest.fixture
def page() -> str:
    """The page with ports that nobody uses."""
    changed = PAGE
    for port, free in zip(PORTS, free_ports(len(PORTS)), strict=True):
        changed = re.sub(rf"\b{port}\b", str(free), changed)
    return changed


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in reversed(processes):
        process.stop()


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed")
@pytest.mark.timeout(180)
def test_what_the_page_says_brings_a_reading_into_a_table(
    page: str, started: list[Process], tmp_path: Path
) -> None:
    config, registry = blocks("yaml", page)
    (tmp_path / "broker.yaml").write_text(config)
    (tmp_path / "registry.yaml").write_text(registry)
    exports, servers, create, pipelines, tries = blocks("sh", page)
    environment = dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())

    def start(command: str, ready: str) -> Process:
        moved = command.replace(" broker.yaml", f" {tmp_path / 'broker.yaml'}").replace(
            ".mqttbeam-bigquery", str(tmp_path / "bigquery")
        )
        log = tmp_path / f"{len(started)}.log"
        started.append(Process(words_of(moved), log=log, environment=environment))
        started[-1].wait_for(ready)
        return started[-1]

    for command in servers.splitlines():
        start(command, r"\bready\b")
    told = done(create.strip(), tmp_path, environment)
    assert "projects/local/subscriptions/telemetry-warehouse" in told.splitlines()
    assert "local:iot.telemetry" in told.splitlines()
    # What is there already stays as it is.
    assert done(create.strip(), tmp_path, environment) == told
    for command in pipelines.splitlines():
        start(command, r"^\w+: running$")
    publish, query = tries.splitlines()
    subprocess.run(words_of(publish), check=True, timeout=20)
    wait_until(
        lambda: "('meter-7', {'celsius': 21.5})" in done(query, tmp_path, environment),
        seconds=30,
        what="the reading's row",
    )


def test_the_example_in_the_broker_s_help_is_one_that_it_takes(tmp_path: Path) -> None:
    told = done(".venv/bin/mqttbeam broker serve --help", tmp_path, {})
    lines = [line.strip() for line in told.splitlines()]
    for line in (*blocks("yaml", PAGE)[0].splitlines()[:3], *blocks("yaml", PAGE)[1].splitlines()):
        assert line.strip() in lines
    (tmp_path / "broker.yaml").write_text(blocks("yaml", PAGE)[0])
    assert load_config(tmp_path / "broker.yaml").registry_file == tmp_path / "registry.yaml"
