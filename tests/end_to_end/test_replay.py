"""What was archived is published again as it was, by the time at which Pub/Sub first took it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import pytest

from localcloud.subscriber import PubSub, subscription_path, topic_path
from schemas.times import format_time
from tests.harness.archive import Archive
from tests.harness.cloud import Cloud
from tests.harness.processes import Process
from tests.harness.taps import Tap, message_id, publish_all
from tests.harness.waiting import wait_until
from tests.harness.warehouse import telemetry_message

COUNT = 400
HOUR = timedelta(hours=1)


def replay(cloud: Cloud, folder: Path, since: datetime, until: datetime) -> Process:
    return cloud.start(
        "replay",
        f"--archive_folder={folder}",
        f"--since={format_time(since)}",
        f"--until={format_time(until)}",
        f"--output_topic={topic_path(cloud.results_topic)}",
        wait=False,
    )


def test_what_is_archived_is_published_again_untouched(
    warehouse_cloud: Cloud, tmp_path: Path
) -> None:
    cloud, folder = warehouse_cloud, tmp_path / "archive"
    archive = Archive(folder)

    def archived() -> bool:
        archive.read()
        return len(archive.records) == COUNT + 2

    # The last can't be decoded, and is archived all the same.
    messages = [*map(telemetry_message, range(COUNT)), (b"no JSON", telemetry_message(COUNT)[1])]
    with PubSub(cloud.pubsub) as client:
        client.create_subscription(cloud.archive_subscription, topic=cloud.telemetry_topic)
        warehouse = cloud.start_warehouse(
            f"--archive_subscription={subscription_path(cloud.archive_subscription)}",
            f"--archive_folder={folder}",
            "--archive_window_seconds=1",
            "--archive_codec=zstandard",
        )
        publish_all(client, cloud.telemetry_topic, messages)
        client.publish(cloud.telemetry_topic, *telemetry_message(COUNT + 1), ordering_key="d1")
        wait_until(
            archived,
            seconds=30,
            what=lambda: f"{COUNT + 2} archived messages, not {len(archive.records)}",
        )
        warehouse.stop()
    times = [record["published_time"] for record in archive.records]

    with Tap(cloud.pubsub, cloud.results_topic, key=message_id) as tap:
        run = replay(cloud, folder, min(times), max(times) + timedelta(milliseconds=1))
        assert run.wait_for_end(seconds=60) == 0, run.said()
        assert f"{COUNT + 2} messages of {len(archive.files)} file" in run.said()
        wait_until(lambda: tap.distinct == COUNT + 2, seconds=20, what="all of them")
    wanted = {f"m-{n}": sent for n, sent in enumerate([*messages, telemetry_message(COUNT + 1)])}
    assert {key: seen.data for seen in tap.seen for key in [message_id(seen)]} == {
        key: data for key, (data, _) in wanted.items()
    }
    for seen in tap.seen:
        sent = wanted[message_id(seen)][1]
        assert {**seen.attributes, "receivedTime": ""} == {**sent, "receivedTime": ""}
    assert [seen.ordering_key for seen in tap.of(f"m-{COUNT + 1}")] == ["d1"]


def test_a_time_without_files_is_told(cloud: Cloud, tmp_path: Path) -> None:
    run = replay(cloud, tmp_path, datetime.now(UTC) - 2 * HOUR, datetime.now(UTC) - HOUR)
    assert run.wait_for_end(seconds=30) == 1
    assert f"{tmp_path} holds no file of the archive from" in run.said()
    assert "Traceback" not in run.said()


def test_a_time_that_is_not_over_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    run = replay(cloud, tmp_path, datetime.now(UTC) - HOUR, datetime.now(UTC) + HOUR)
    assert run.wait_for_end(seconds=30) == 2
    assert "--until=" in run.said()
    assert "is not over yet" in run.said()


@pytest.mark.parametrize("kind", ["another schema", "no Avro"])
def test_a_file_that_is_none_of_the_archive_ends_it(
    cloud: Cloud, tmp_path: Path, kind: str
) -> None:
    since = datetime(2026, 1, 31, 12, tzinfo=UTC)
    hour = tmp_path / "year=2026/month=01/day=31/hour=12"
    hour.mkdir(parents=True)
    with (hour / "x.avro").open("wb") as file:
        if kind == "no Avro":
            file.write(b"PAR1")
        else:
            schema = {"type": "record", "name": "r", "fields": [{"name": "raw", "type": "bytes"}]}
            fastavro.writer(file, schema, [{"raw": b""}])
    run = replay(cloud, tmp_path, since, since + HOUR)
    assert run.wait_for_end(seconds=60) == 1
    assert "hour=12/x.avro" in run.said()
    assert "Traceback" not in run.said(), run.said()
