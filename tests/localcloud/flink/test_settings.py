from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from localcloud.flink.jars import FlinkUnavailable, check_java
from localcloud.flink.settings import (
    WORKERS_NAME,
    ClusterSettings,
    Ports,
    flink_configuration,
    hosts_file,
    java_command,
    workers_address,
    zookeeper_configuration,
)

PORTS = Ports(**{name: 20_000 + n for n, name in enumerate(Ports.__dataclass_fields__)})
SETTINGS = ClusterSettings(folder=Path("/data"))


def test_everything_that_flink_can_be_told_an_address_for_is_on_loopback() -> None:
    values = yaml.safe_load(flink_configuration(SETTINGS, PORTS))
    addresses = {
        name: value for name, value in values.items() if name.endswith(("host", "address"))
    }
    assert len(addresses) >= 6
    assert set(addresses.values()) == {"127.0.0.1"}
    assert values["high-availability.zookeeper.quorum"] == f"127.0.0.1:{PORTS.zookeeper}"
    assert "clientPortAddress=127.0.0.1\n" in zookeeper_configuration(SETTINGS, PORTS)


def test_a_job_outlives_its_job_manager_and_its_failures() -> None:
    values = yaml.safe_load(flink_configuration(SETTINGS, PORTS))
    assert values["high-availability.type"] == "zookeeper"
    assert values["high-availability.storageDir"] == "file:///data/high-availability"
    assert values["state.checkpoints.dir"] == "file:///data/checkpoints"
    assert values["restart-strategy.type"] == "exponential-delay"


def test_each_task_manager_finds_workers_of_its_own_under_one_name() -> None:
    first, second = (hosts_file(number, machine="box") for number in (1, 2))
    assert f"127.0.0.1 {WORKERS_NAME}\n" in first
    assert f"127.0.0.2 {WORKERS_NAME}\n" in second
    assert workers_address(2) == "127.0.0.2"
    assert "127.0.0.1 localhost box\n" in second


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"task_managers": 0}, "task_managers"),
        ({"slots": 0}, "slots"),
        ({"heartbeat_timeout_seconds": 1.0}, "heartbeat_timeout_seconds"),
    ],
)
def test_a_setting_that_cannot_work_is_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ClusterSettings(folder=Path("/data"), **wrong)  # type: ignore[arg-type]  # that is the point


def test_java_takes_the_command_line_that_is_made_for_it(tmp_path: Path) -> None:
    try:
        java = check_java()
    except FlinkUnavailable as error:
        pytest.skip(str(error))
    command = java_command(java, tmp_path, "Nothing", heap_mb=16, more={"some.name": "some value"})
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    # It got as far as looking for the class.
    assert "Could not find or load main class Nothing" in said
    assert "WARNING" not in said
