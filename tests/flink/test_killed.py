"""On a Flink cluster of processes, each of its parts is killed while 50,000 messages pass.

Telemetry with four shards, and the warehouse with its archive, are two jobs of one cluster. A task
manager, all Python workers of one, a worker pool and the job manager get ``kill -9`` in turn, in
the midst of work, those that read at the time; what would be started again by whoever runs a
cluster is. Takes some four minutes.
"""

from __future__ import annotations

import json
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from localcloud.endpoints import Endpoints
from localcloud.flink.cluster import FlinkCluster
from localcloud.flink.settings import ClusterSettings
from localcloud.subscriber import PubSub, subscription_path
from tests.harness.archive import Archive
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud
from tests.harness.devices import Device, Traffic
from tests.harness.flink import FlinkJobsOfTest, Victim
from tests.harness.kill_runs import Figures, settle
from tests.harness.taps import Tap, message_id
from tests.harness.waiting import wait_until
from tests.harness.warehouse import DistinctRows

pytestmark = [pytest.mark.flink, pytest.mark.timeout(900)]

TOTAL = 50_000
SHARDS = 4
_RATE = 1_500.0
_DEVICES = 5
_ARRIVE_SECONDS = 180.0


def test_no_message_is_lost_when_each_part_of_the_cluster_is_killed(
    warehouse_cloud: Cloud, own_broker: Broker, tmp_path: Path
) -> None:
    cloud, broker = warehouse_cloud, own_broker
    archived, rows = Archive(tmp_path / "archive"), DistinctRows(cloud)
    endpoints = Endpoints(
        broker="",
        pubsub=cloud.pubsub,
        bigquery=cloud.bigquery,
        bigquery_storage=cloud.bigquery_storage,
    )
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        client.create_subscription(cloud.archive_subscription, topic=cloud.telemetry_topic)
        tap = enter(Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id))
        devices = [enter(Device(broker, f"d{n + 1}")) for n in range(_DEVICES)]
        cluster = enter(
            FlinkCluster(
                ClusterSettings(folder=tmp_path / "flink"), environment=endpoints.environment()
            )
        )
        jobs = FlinkJobsOfTest(cluster)
        telemetry = jobs.submit_readers(
            lambda: cloud.start_telemetry(
                broker, f"--shards={SHARDS}", *cluster.options(), wait=False
            ),
            broker,
            SHARDS,
        )
        warehouse = jobs.submit(
            lambda: cloud.start_warehouse(
                f"--archive_subscription={subscription_path(cloud.archive_subscription)}",
                f"--archive_folder={tmp_path / 'archive'}",
                "--archive_window_seconds=2",
                *cluster.options(),
                wait=False,
            )
        )

        def send(numbers: range) -> None:
            for n in numbers:
                devices[n % _DEVICES].publish(
                    payload(n), message_id=f"m-{n}", properties=[("schema-id", "reading.v1")]
                )

        traffic = enter(Traffic(send, total=TOTAL, rate=_RATE))
        rng = random.Random(1)
        part = TOTAL // (len(Victim) + 1)
        for number, victim in enumerate(Victim):
            traffic.allow((number + 1) * part)
            wait_for(tap, tap.distinct + rng.randrange(part // 4, part // 2))
            reading = jobs.readers(broker)
            jobs.kill(victim, max(reading, key=reading.count))
            # Half of the next part waits for the pipelines, half comes while they run.
            traffic.allow((number + 1) * part + part // 2)
            seconds = jobs.wait_until_restored(broker, SHARDS)
            print(f"{victim.value} killed: everything back after {seconds:.0f} s")
        traffic.allow(TOTAL)
        traffic.wait(seconds=_ARRIVE_SECONDS)
        wait_for(tap, TOTAL)
        wait_until(
            lambda: rows() >= TOTAL and archived() >= TOTAL,
            seconds=_ARRIVE_SECONDS,
            what=lambda: f"{TOTAL} messages, not {rows()} rows and {archived()} archived",
            poll_seconds=0.5,
        )
        settle(lambda: len(tap.seen))
        settle(cloud.rows)
        for pipeline in (telemetry, warehouse):
            pipeline.stop()
            assert pipeline.popen.returncode == 0, pipeline.said()
            assert "cancel it at its cluster" in pipeline.said()
        assert {job.state for job in cluster.jobs.jobs()} == {"RUNNING"}

    expected = {f"m-{n}": payload(n) for n in range(TOTAL)}
    assert {message_id(seen): seen.data for seen in tap.seen} == expected
    in_table = cloud.query("SELECT message_id, deduplicable, payload FROM {dataset}.telemetry")
    wanted = {f"m-{n}": n for n in range(TOTAL)}
    assert {row[0]: row[2]["readings"]["n"] for row in in_table} == wanted
    assert all(row[1] for row in in_table)
    (once,) = cloud.query(
        "SELECT COUNT(*), COUNT(DISTINCT message_id) FROM {dataset}.telemetry_distinct"
    )
    assert once == (TOTAL, TOTAL)
    assert cloud.rows("dead_letters") == 0
    assert {
        record["attributes"]["messageId"]: json.loads(record["raw"])["readings"]["n"]
        for record in archived.records
    } == wanted
    for what, copies in (
        ("telemetry", len(tap.seen)),
        ("rows", len(in_table)),
        ("archive", len(archived.records)),
    ):
        print(Figures(f"{what} on Flink", len(Victim), TOTAL, copies, TOTAL))


def payload(number: int) -> bytes:
    return b'{"readings": {"n": %d}}' % number


def wait_for(tap: Tap, count: int) -> None:
    wait_until(
        lambda: tap.distinct >= min(count, TOTAL),
        seconds=_ARRIVE_SECONDS,
        what=lambda: f"{count} messages, only {tap.distinct} arrived",
    )
