"""Each pipeline is killed ten times while 20,000 messages pass, and nothing is lost.

In turn Python alone, Prism alone and both get ``kill -9``, in the midst of work;
``tests/end_to_end/test_killed.py`` has the short form.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import kill_runs
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud

# Ten starts and the leases of the last kill, on two cores that may have other work.
pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

TOTAL = 20_000
KILLS = 10


def test_telemetry_killed_ten_times_loses_nothing(cloud: Cloud, own_broker: Broker) -> None:
    print(kill_runs.telemetry(cloud, own_broker, total=TOTAL, kills=KILLS))


def test_commands_killed_ten_times_reach_their_devices_and_have_an_outcome(
    cloud: Cloud, own_broker: Broker
) -> None:
    print(*kill_runs.commands(cloud, own_broker, total=TOTAL, kills=KILLS), sep="\n")


def test_warehouse_killed_ten_times_has_every_row(warehouse_cloud: Cloud) -> None:
    print(kill_runs.warehouse(warehouse_cloud, total=TOTAL, kills=KILLS))


def test_direct_killed_ten_times_has_every_row(warehouse_cloud: Cloud, own_broker: Broker) -> None:
    print(kill_runs.direct(warehouse_cloud, own_broker, total=TOTAL, kills=KILLS))


def test_warehouse_killed_three_times_archives_what_the_table_has(
    warehouse_cloud: Cloud, tmp_path: Path
) -> None:
    print(kill_runs.archive(warehouse_cloud, tmp_path / "archive", total=TOTAL, kills=3))
