"""The pipelines under ``kill -9``: what must hold, and the figures of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from localcloud.subscriber import PubSub, subscription_path
from schemas.messages import CommandOutcome, Outcome
from schemas.times import format_time
from tests.harness.archive import Archive
from tests.harness.bigquery_load import load
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud
from tests.harness.devices import Device, Traffic, observer, wait_until_subscribed
from tests.harness.killing import KillRun
from tests.harness.taps import Tap, command_id, message_id, publish_all
from tests.harness.waiting import wait_until
from tests.harness.warehouse import DistinctRows, telemetry_message
from transforms.archive.record import SCHEMA

_RATE = 1_500.0
_DEVICES = 5
_EXPIRING_EVERY = 50
_EXPIRES_AFTER = timedelta(seconds=6)


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a run: messages sent, copies received, and distinct ones among these."""

    what: str
    kills: int
    sent: int
    received: int
    distinct: int

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.kills} kills, {self.sent} sent, {self.received} received,"
            f" {self.sent - self.distinct} lost, {self.received - self.distinct} duplicates,"
            f" {self.distinct} after deduplication"
        )


def telemetry(cloud: Cloud, broker: Broker, *, total: int, kills: int) -> Figures:
    """Telemetry from devices to Pub/Sub; every id is looked for."""
    with ExitStack() as open_now:
        enter = open_now.enter_context
        tap = enter(Tap(cloud.pubsub, cloud.telemetry_topic, key=message_id))
        devices = [enter(Device(broker, f"d{n + 1}")) for n in range(_DEVICES)]

        def send(numbers: range) -> None:
            for n in numbers:
                devices[n % _DEVICES].publish(b'{"n": %d}' % n, message_id=f"m-{n}")

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        KillRun(
            start=lambda: cloud.start_telemetry(broker, wait=False),
            ready=lambda: wait_until_subscribed(devices[0], tap),
            traffic=traffic,
            total=total,
            arrived=lambda: tap.distinct - 1,
            kills=kills,
        ).run()
        settle(lambda: len(tap.seen))
    seen = [item for item in tap.seen if message_id(item) != "probe"]
    by_id: dict[str, set[bytes]] = {}
    for item in seen:
        by_id.setdefault(message_id(item), set()).add(item.data)
    # One body an id: whoever keeps the first of each has each message, once.
    assert by_id == {f"m-{n}": {b'{"n": %d}' % n} for n in range(total)}
    return Figures("telemetry", kills, total, len(seen), len(by_id))


def commands(cloud: Cloud, broker: Broker, *, total: int, kills: int) -> tuple[Figures, Figures]:
    """Commands from Pub/Sub to devices; figures of the devices and of the results topic.

    Some are of use only for some seconds: they end as accepted, expired, or both in this order.
    """
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        results = enter(Tap(cloud.pubsub, cloud.results_topic, key=command_id))
        device = enter(observer(broker))

        def send(numbers: range) -> None:
            expires = format_time(datetime.now(UTC) + _EXPIRES_AFTER)
            publish_all(
                client,
                cloud.commands_topic,
                [
                    (
                        b"%d" % n,
                        {"deviceId": f"d{n % _DEVICES + 1}", "commandId": f"c-{n}"}
                        | ({} if n % _EXPIRING_EVERY else {"expiresAt": expires}),
                    )
                    for n in numbers
                ],
            )

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        KillRun(
            start=lambda: cloud.start_commands(broker, wait=False),
            traffic=traffic,
            total=total,
            arrived=lambda: results.distinct,
            kills=kills,
        ).run()
        settle(lambda: len(results.seen))
    wanted = {f"c-{n}" for n in range(total)}
    assert set(results.counts) == wanted
    outcomes: dict[str, list[Outcome]] = {}
    for item in results.seen:
        outcome = CommandOutcome.from_json(item.data)
        outcomes.setdefault(outcome.command_id, []).append(outcome.outcome)
    for command, said in outcomes.items():
        strengths = [outcome.strength for outcome in said]
        assert strengths == sorted(strengths), f"{command} said something weaker: {said}"
        assert set(said) <= {Outcome.ACCEPTED, Outcome.EXPIRED}
    accepted = {command for command, said in outcomes.items() if Outcome.ACCEPTED in said}
    arrived = set(device.commands)
    assert accepted <= arrived <= wanted
    # What could not expire was accepted, and so arrived.
    assert {f"c-{n}" for n in range(total) if n % _EXPIRING_EVERY} <= accepted
    expired = len(wanted - arrived)
    print(f"\ncommands that expired before a device had them: {expired}")
    return (
        Figures(
            "commands at the devices",
            kills,
            total - expired,
            sum(device.commands.values()),
            len(arrived),
        ),
        Figures("outcomes", kills, total, len(results.seen), results.distinct),
    )


def warehouse(cloud: Cloud, *, total: int, kills: int) -> Figures:
    """Telemetry from Pub/Sub to BigQuery; every row is looked for."""
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))

        def send(numbers: range) -> None:
            publish_all(client, cloud.telemetry_topic, [telemetry_message(n) for n in numbers])

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        KillRun(
            start=lambda: cloud.start_warehouse(wait=False),
            traffic=traffic,
            total=total,
            arrived=DistinctRows(cloud),
            kills=kills,
        ).run()
        settle(cloud.rows)
    rows = cloud.query("SELECT message_id, deduplicable, payload FROM {dataset}.telemetry")
    by_id = {(row[0], row[1], row[2]["readings"]["n"]) for row in rows}
    assert by_id == {(f"m-{n}", True, n) for n in range(total)}
    assert cloud.rows("dead_letters") == 0
    (once,) = cloud.query(
        "SELECT COUNT(*), COUNT(DISTINCT message_id) FROM {dataset}.telemetry_distinct"
    )
    assert once == (total, total)
    return Figures("warehouse", kills, total, len(rows), len(by_id))


def direct(cloud: Cloud, broker: Broker, *, total: int, kills: int) -> Figures:
    """Telemetry from devices to BigQuery; every row is looked for."""
    rows = DistinctRows(cloud)
    with ExitStack() as open_now:
        devices = [open_now.enter_context(Device(broker, f"d{n + 1}")) for n in range(_DEVICES)]

        def send(numbers: range) -> None:
            for n in numbers:
                payload = b'{"readings": {"n": %d}}' % n
                devices[n % _DEVICES].publish(payload, message_id=f"m-{n}")

        def row_of_probe() -> bool:
            devices[0].publish(b"{}", message_id="probe")
            return rows() > 0

        def ready() -> None:
            wait_until(row_of_probe, seconds=30, what="a row", poll_seconds=0.1)

        traffic = open_now.enter_context(Traffic(send, total=total, rate=_RATE))
        KillRun(
            start=lambda: cloud.start_direct(broker, wait=False),
            ready=ready,
            traffic=traffic,
            total=total,
            arrived=lambda: rows() - 1,
            kills=kills,
        ).run()
        settle(cloud.rows)
    found = cloud.query(
        "SELECT message_id, deduplicable, device_id, payload FROM {dataset}.telemetry"
        " WHERE message_id != 'probe'"
    )
    by_id = {(row[0], row[1], row[2], row[3]["readings"]["n"]) for row in found}
    assert by_id == {(f"m-{n}", True, f"d{n % _DEVICES + 1}", n) for n in range(total)}
    assert cloud.rows("dead_letters") == 0
    (once,) = cloud.query("SELECT COUNT(*) FROM {dataset}.telemetry_distinct")
    # One row for each message, and one for the probe of the first device.
    assert once == (total + 1,)
    return Figures("direct", kills, total, len(found), len(by_id))


def archive(cloud: Cloud, folder: Path, *, total: int, kills: int) -> Figures:
    """Telemetry from Pub/Sub to BigQuery and to Avro files; every message is looked for in both."""
    archived, rows = Archive(folder), DistinctRows(cloud)
    with ExitStack() as open_now:
        enter = open_now.enter_context
        client = enter(PubSub(cloud.pubsub))
        client.create_subscription(cloud.archive_subscription, topic=cloud.telemetry_topic)

        def send(numbers: range) -> None:
            publish_all(client, cloud.telemetry_topic, [telemetry_message(n) for n in numbers])

        def arrived() -> int:
            # By the table, whose rows come all the time: what kills in the midst of them kills
            # with messages in files that are not final. At the end it is both.
            count = rows()
            return count if count < total else min(count, archived())

        traffic = enter(Traffic(send, total=total, rate=_RATE))
        last = KillRun(
            start=lambda: cloud.start_warehouse(
                f"--archive_subscription={subscription_path(cloud.archive_subscription)}",
                f"--archive_folder={folder}",
                "--archive_window_seconds=1",
                "--archive_shards=2",
                wait=False,
            ),
            traffic=traffic,
            total=total,
            arrived=arrived,
            kills=kills,
        ).run()
        settle(lambda: (archived(), len(archived.records))[1])
        settle(cloud.rows)
        # What was archived is acknowledged: nothing comes when the pipeline is asked to end.
        count = len(archived.records)
        last.stop()
    archived.read()
    assert len(archived.records) == count
    assert archived.leftovers == []
    in_table = cloud.query("SELECT message_id, deduplicable, payload FROM {dataset}.telemetry")
    wanted = {f"m-{n}": {"readings": {"n": n}} for n in range(total)}
    assert {row[0]: {"readings": row[2]["readings"]} for row in in_table} == wanted
    # The row of the archive, and the bytes that could be sent again.
    assert {
        record["message_id"]: {"readings": json.loads(record["payload"])["readings"]}
        for record in archived.records
    } == wanted
    assert {
        record["attributes"]["messageId"]: json.loads(record["raw"]) for record in archived.records
    } == wanted
    assert cloud.rows("dead_letters") == 0
    # And BigQuery loads it: the rows are the records.
    load(cloud.bigquery, f"{cloud.dataset}.archive", archived.files, SCHEMA)
    (loaded,) = cloud.query("SELECT COUNT(*), COUNT(DISTINCT message_id) FROM {dataset}.archive")
    assert loaded == (len(archived.records), total)
    return Figures("archive", kills, total, len(archived.records), len(archived.ids))


def settle(count: Callable[[], int], *, quiet_seconds: float = 1.0) -> None:
    """Waits until a count stands still: copies may come behind the last message."""
    last, since = -1, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        now = count()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > quiet_seconds

    wait_until(still, seconds=60, what="quiet", poll_seconds=0.05)
