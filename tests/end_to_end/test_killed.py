"""A pipeline that is killed loses nothing; the short form of tests/faults/test_killed.py."""

from __future__ import annotations

from pathlib import Path

from tests.harness import kill_runs
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud

KILLS = 2


def test_telemetry_killed_loses_nothing(cloud: Cloud, own_broker: Broker) -> None:
    print(kill_runs.telemetry(cloud, own_broker, total=3_000, kills=KILLS))


def test_commands_killed_reach_their_devices_and_have_an_outcome(
    cloud: Cloud, own_broker: Broker
) -> None:
    print(*kill_runs.commands(cloud, own_broker, total=3_000, kills=KILLS), sep="\n")


def test_warehouse_killed_has_every_row(warehouse_cloud: Cloud) -> None:
    print(kill_runs.warehouse(warehouse_cloud, total=3_000, kills=KILLS))


def test_direct_killed_has_every_row(warehouse_cloud: Cloud, own_broker: Broker) -> None:
    print(kill_runs.direct(warehouse_cloud, own_broker, total=3_000, kills=KILLS))


def test_warehouse_killed_archives_what_the_table_has(
    warehouse_cloud: Cloud, tmp_path: Path
) -> None:
    print(kill_runs.archive(warehouse_cloud, tmp_path / "archive", total=3_000, kills=KILLS))
