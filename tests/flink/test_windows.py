"""What waits in a window on Flink is in a checkpoint before it is acknowledged.

Flink tells of bundles as final that no checkpoint holds yet. Without a checkpoint more between its
word and the acknowledgement, some of what waits in a window would be gone with each kill.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from localcloud.endpoints import Endpoints
from localcloud.flink.cluster import FlinkCluster
from localcloud.flink.settings import ClusterSettings
from localcloud.subscriber import PubSub, subscription_path
from tests.harness.cloud import Cloud
from tests.harness.devices import Traffic
from tests.harness.flink import FlinkJobsOfTest, Victim
from tests.harness.kill_runs import Figures
from tests.harness.taps import publish_all
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]

TOTAL = 24_000
KILLS = 3
_RATE = 1_000.0


def test_windows_lose_nothing_when_task_managers_are_killed(cloud: Cloud, tmp_path: Path) -> None:
    endpoints = Endpoints(broker="", pubsub=cloud.pubsub, bigquery="", bigquery_storage="")
    output = tmp_path / "numbers"
    output.touch()

    def written() -> list[int]:
        # The last line may be half written.
        return [
            int(line) for line in output.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]

    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        cluster = enter(
            FlinkCluster(
                ClusterSettings(folder=tmp_path / "flink"), environment=endpoints.environment()
            )
        )
        jobs = FlinkJobsOfTest(cluster)
        jobs.submit(
            lambda: cloud.processes.start(
                "windowed",
                [
                    *(sys.executable, "-m", "tests.harness.windowed"),
                    subscription_path(cloud.warehouse_subscription),
                    str(output),
                    *cluster.options(),
                ],
                environment=endpoints.environment(),
            )
        )

        def send(numbers: range) -> None:
            publish_all(client, cloud.telemetry_topic, [(b"%d" % n, {"n": "n"}) for n in numbers])

        traffic = enter(Traffic(send, total=TOTAL, rate=_RATE))
        part = TOTAL // (KILLS + 1)
        for number in range(KILLS):
            traffic.allow((number + 1) * part)
            wanted = number * part + part // 2
            wait_until(
                lambda wanted=wanted: len(set(written())) >= wanted,  # type: ignore[misc]  # bound now
                seconds=120,
                what=lambda: f"{wanted} numbers, not {len(set(written()))}",  # noqa: B023  # asked here
                poll_seconds=0.05,
            )
            (reading,) = {
                task_manager
                for task_manager in range(1, cluster.settings.task_managers + 1)
                if cluster.workers(task_manager)
            }
            jobs.kill(Victim.TASK_MANAGER, reading)
            jobs.wait_until_restored()
        traffic.allow(TOTAL)
        traffic.wait(seconds=120)
        wait_until(
            lambda: len(set(written())) >= TOTAL,
            seconds=120,
            what=lambda: f"{TOTAL} numbers, not {len(set(written()))}",
            poll_seconds=0.5,
        )
    numbers = written()
    assert set(numbers) == set(range(TOTAL))
    print(Figures("windows on Flink", KILLS, TOTAL, len(numbers), len(set(numbers))))
