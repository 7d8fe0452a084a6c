"""The devices' process against a real broker of ours, which is really killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcloud.devices import host, journal
from localcloud.endpoints import free_ports
from localcloud.run.children import Child, Children, own_environment
from localcloud.run.servers import Credentials, make_credentials

DEVICE_IDS = (host.device_id(), "climate-0001", "air-0002", "meter-0003")


class Site:
    """A broker with the credentials of a few devices."""

    def __init__(self, folder: Path, children: Children) -> None:
        self._children = children
        self.port = free_ports(1)[0]
        self.folder = folder
        self.credentials: Credentials = make_credentials(folder, DEVICE_IDS)
        self.config = folder / "broker.yaml"
        self.config.write_text(
            f"listeners: [{{port: {self.port}}}]\nregistry: {{file: registry.yaml}}\n"
        )
        self.broker = self.start_broker()

    def start_broker(self) -> Child:
        self.broker = self._children.start(
            "broker",
            [sys.executable, "-m", "broker.server", "--config", str(self.config)],
            environment=own_environment(),
        )
        ready = re.compile(r"ready .*")
        self._children.wait_for_line(self.broker, ready, timeout_seconds=20)
        return self.broker

    def kill_broker(self) -> None:
        self.broker.stopping = True
        os.kill(self.broker.pid, signal.SIGKILL)
        self.broker.process.wait()

    def command(self, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "localcloud.devices"),
            *("--broker", f"mqtt://127.0.0.1:{self.port}"),
            *("--credentials", str(self.credentials.devices)),
            *("--journal", str(self.folder / "journal")),
            *("--run-id", "test", "--devices", "3"),
            *options,
        ]

    def run(self, *options: str) -> tuple[int, list[dict[str, int]], str]:
        """Return exit status, the counters of each line, and standard error."""
        done = subprocess.run(
            self.command(*options), capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def journal(self) -> journal.Journal:
        return journal.read(self.folder / "journal")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Children(logs=tmp_path / "logs") as children:
        yield Site(tmp_path, children)


def _wait_for(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def test_what_is_acknowledged_is_in_the_journal_id_by_id(site: Site) -> None:
    status, lines, _ = site.run("--rate", "200", "--duration", "1.5")
    assert status == 0
    found = site.journal()
    assert found.complete
    assert len(found.acknowledged) == lines[-1]["published"] == pytest.approx(300, abs=40)
    assert lines[-1]["outstanding"] == 0


def test_a_broker_that_dies_and_returns_loses_no_reading(site: Site) -> None:
    process = subprocess.Popen(
        site.command("--rate", "200", "--duration", "5"), stdout=subprocess.PIPE, text=True
    )
    _wait_for(lambda: len(site.journal().acknowledged) > 50 if _written(site) else False)
    site.kill_broker()
    site.start_broker()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    last = json.loads(output.splitlines()[-1])
    assert last["reconnects"] >= 4
    assert last["published"] == len(site.journal().acknowledged)
    numbers = sorted(int(each.split("-")[1], 16) for each in site.journal().acknowledged)
    assert numbers == list(range(1, len(numbers) + 1))


def test_sigterm_ends_it_with_nothing_outstanding(site: Site) -> None:
    process = subprocess.Popen(
        site.command("--rate", "100"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: _written(site) and bool(site.journal().acknowledged))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert site.journal().complete


def test_sigusr1_ends_the_publishing_and_keeps_the_connections(site: Site) -> None:
    process = subprocess.Popen(site.command("--rate", "100"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    _wait_for(lambda: _written(site) and bool(site.journal().acknowledged))
    process.send_signal(signal.SIGUSR1)
    quiet = next(each for line in process.stdout if (each := json.loads(line))["state"] == "quiet")
    later = json.loads(process.stdout.readline())
    assert later["connected"] == 4
    assert later["published"] == quiet["published"] + quiet["outstanding"]
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_wrong_password_is_told_at_once(site: Site) -> None:
    site.credentials.devices.write_text(json.dumps(dict.fromkeys(DEVICE_IDS, "wrong")))
    status, _, errors = site.run("--duration", "1")
    assert status == 1
    assert "refused device" in errors
    assert "Traceback" not in errors


def test_a_device_without_a_password_is_named(site: Site) -> None:
    site.credentials.devices.write_text("{}")
    status, _, errors = site.run("--duration", "1")
    assert status == 1
    assert f"no password for 4 devices, {DEVICE_IDS[0]} among them" in errors


def test_a_broker_that_is_not_there_is_told_within_the_time(site: Site) -> None:
    site.kill_broker()
    status, _, errors = site.run("--connect-timeout", "1")
    assert status == 1
    assert "4 of 4 devices are not connected after 1 s" in errors


def test_a_recording_is_replayed_with_its_own_times(site: Site) -> None:
    rows = "".join(f"2020-01-01T00:00:{second:02d}Z,climate-0001,{second}\n" for second in range(9))
    recording = site.folder / "recording.csv"
    recording.write_text("time,device,temperature\n" + rows)
    status, lines, _ = site.run("--input", str(recording), "--rate", "100", "--duration", "0.5")
    assert status == 0
    assert 9 <= lines[-1]["published"] <= 10
    assert lines[-1]["recording_ended"]


def test_nothing_counts_before_someone_subscribes(site: Site) -> None:
    status, lines, errors = site.run("--wait-for-subscriber", "--connect-timeout", "2")
    assert status == 1
    assert lines[-1]["published"] == 0
    assert "nobody subscribes" in errors
    assert not site.journal().acknowledged


def _written(site: Site) -> bool:
    path = site.folder / "journal"
    return path.exists() and path.read_text().endswith("\n")
