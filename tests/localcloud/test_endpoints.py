import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.endpoints import (
    Endpoints,
    NoRunningCloud,
    RunningCloud,
    free_ports,
    without_endpoints,
)

ENDPOINTS = Endpoints(broker="h:1", pubsub="h:2", bigquery="h:3", bigquery_storage="h:4")


def _cloud(pid: int) -> RunningCloud:
    return RunningCloud(endpoints=ENDPOINTS, runner_pid=pid, run_id="r", devices=("a", "b"))


def test_a_running_cloud_is_found_as_it_was_written(tmp_path: Path) -> None:
    _cloud(os.getpid()).write(tmp_path)
    assert RunningCloud.find(tmp_path) == _cloud(os.getpid())


def test_none_is_found_where_none_was_written(tmp_path: Path) -> None:
    with pytest.raises(NoRunningCloud, match="start one there with `make run`"):
        RunningCloud.find(tmp_path)


def test_one_whose_runner_is_gone_does_not_run(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _cloud(gone.pid).write(tmp_path)
    with pytest.raises(NoRunningCloud):
        RunningCloud.find(tmp_path)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(NoRunningCloud, match="can't be read"):
        RunningCloud.find(tmp_path)


def test_google_s_clients_find_it_by_their_variables() -> None:
    assert ENDPOINTS.environment()["PUBSUB_EMULATOR_HOST"] == "h:2"
    assert ENDPOINTS.broker_url == "mqtt://h:1"


def test_no_variable_of_another_cloud_is_passed_on() -> None:
    assert without_endpoints({"PUBSUB_EMULATOR_HOST": "x", "HOME": "/"}) == {"HOME": "/"}


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(5))) == 5
