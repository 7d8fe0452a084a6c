"""The archive in a pipeline: on Prism, and as Dataflow would get it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.io.gcp.pubsub import ReadFromPubSub as BeamReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions

from localcloud.pubsub.clock import SystemClock
from localcloud.subscriber import PubSub
from tests.harness.archive import Archive
from tests.harness.storage import BUCKET, CloudStorage
from tests.harness.waiting import wait_until
from tests.transforms.prism import Collected, running
from tests.transforms.pubsubio.conftest import Place
from transforms import archive as archive_module
from transforms.archive import (
    _OPEN,
    ArchivedFile,
    ArchivePubSub,
    ArchiveSettings,
    check_archive,
)
from transforms.archive import archiver as archiver_module
from transforms.archive.grouped import ArchiveBatches
from transforms.errors import DestinationRefused
from transforms.lists import MessageListCoder
from transforms.pubsubio import HeldMessages, ReadFromPubSub, pull
from transforms.pubsubio.pull import PulledBatch
from transforms.pubsubio.read import _OPEN as _pullers

SUBSCRIPTION = "projects/some-project/subscriptions/sub"
GOOD = b'{"readings": {"t": 1}}'
HOUR_NS = 3_600 * 10**9
Way = Callable[[Place, ArchiveSettings], Callable[[beam.Pipeline], object]]


def publish(place: Place, payloads: Sequence[bytes]) -> None:
    with PubSub(place.service.endpoint) as client:
        for number, payload in enumerate(payloads):
            attributes = {
                "deviceId": "d1",
                "mqttTopic": "devices/d1/telemetry",
                "messageId": f"m-{number}",
                "messageIdFrom": "device",
                "receivedTime": "2026-01-31T12:00:00Z",
            }
            client.publish(place.topic.rpartition("/")[2], payload, attributes)


def left(place: Place) -> int:
    """What the subscription delivers within a second, which is what was not acknowledged."""
    return len(place.received(1, seconds=1))


def assert_nothing_is_missing(place: Place, archive: Archive, published: int) -> None:
    """A pipeline that was stopped archived all that it had read; the rest it left where it was."""
    archive.read()
    unread = published - len(archive.records)
    assert len(place.received(unread) if unread else []) == unread
    assert left(place) == 0


def test_what_was_read_is_archived_and_acknowledged_when_the_pipeline_ends(
    place: Place, tmp_path: Path
) -> None:
    seen = Collected("archived-at-the-end")
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=600)
    archive = Archive(tmp_path)
    payloads = [GOOD, b"", b"no JSON"]

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | ArchivePubSub(place.subscription, settings) | beam.Map(seen.add)

    with running(build):
        publish(place, payloads)
        wait_until(lambda: in_open_files() == 3, seconds=15, what="three messages in open files")
        assert archive.files == []
    archive.read()
    assert sorted(record["raw"] for record in archive.records) == sorted(payloads)
    assert [bool(record["rejected_reason"]) for record in archive.records].count(True) == 2
    assert archive.leftovers == []
    assert [file._replace(path="", bytes=0) for file in seen.items] == [
        ArchivedFile(path="", messages=3, rejected=2, late=False, bytes=0)
    ]
    assert left(place) == 0


def test_bundles_that_are_finalized_acknowledge_nothing(place: Place, tmp_path: Path) -> None:
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=600)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | ArchivePubSub(place.subscription, settings)

    with running(build):
        for count in range(1, 5):
            publish(place, [GOOD])
            # One after the other, so that the bundles of the first are over, and finalized.
            wait_until(lambda c=count: in_open_files() == c, seconds=15, what="a message")  # type: ignore[misc]  # an int
            assert leased(place) == count
    archive = Archive(tmp_path)
    archive.read()
    assert len(archive.records) == 4
    assert left(place) == 0


def leased(place: Place) -> int:
    """How many messages this process has been handed and has not acknowledged."""
    puller = _pullers._values[place.subscription]
    return sum(len(batch.messages) for batch in list(puller._handed_out.values()))


def in_open_files() -> int:
    """How many messages wait in this process for their file."""
    return sum(archiver._messages for archiver in _OPEN._values.values())


def test_a_file_is_closed_in_time_though_nothing_more_comes(place: Place, tmp_path: Path) -> None:
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=0.5)
    archive = Archive(tmp_path)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | ArchivePubSub(place.subscription, settings)

    with running(build):
        publish(place, [GOOD])
        wait_until(lambda: archive() == 1, seconds=15, what="a file")


def test_a_folder_that_is_away_for_a_while_costs_nothing(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    settings = ArchiveSettings(folder=str(folder), window_seconds=0.2)
    archive = Archive(folder)

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | ArchivePubSub(place.subscription, settings)

    folder.write_bytes(b"a file where the folder should be")
    with running(build):
        publish(place, [GOOD])
        wait_until(lambda: in_open_files() == 1, seconds=15, what="a message in an open file")
        folder.unlink()
        wait_until(lambda: archive() == 1, seconds=15, what="a file")
    assert left(place) == 0


def by_state(place: Place, settings: ArchiveSettings) -> Callable[[beam.Pipeline], object]:
    """The pipeline where the runner's state is durable."""
    return lambda pipeline: (
        pipeline
        | ReadFromPubSub(place.subscription, lists=True)
        | ArchiveBatches(settings, origin="sub", default_schema_id=None)
    )


def by_hand(place: Place, settings: ArchiveSettings) -> Callable[[beam.Pipeline], object]:
    """The pipeline where it isn't."""
    return lambda pipeline: pipeline | ArchivePubSub(place.subscription, settings)


@pytest.mark.parametrize("way", [by_hand, by_state])
def test_what_comes_long_after_its_hour_is_in_files_of_its_own(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    archive = Archive(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(SystemClock, "wall_ns", lambda clock: time.time_ns() - 3 * HOUR_NS)
        publish(place, [GOOD] * 2)
    publish(place, [GOOD] * 3)
    with running(way(place, ArchiveSettings(folder=str(tmp_path), window_seconds=0.5))):
        wait_until(
            lambda: (archive(), len(archive.records))[1] == 5, seconds=20, what="five messages"
        )
    assert [path.name.partition("-")[0] for path in archive.files] == ["late", "telemetry"]
    late, on_time = (Archive.records_of(path) for path in archive.files)
    assert (len(late), len(on_time)) == (2, 3)
    hours = {record["published_time"].strftime("hour=%H") for record in late}
    assert hours == {archive.files[0].parent.name}


@pytest.mark.parametrize("way", [by_hand, by_state])
def test_a_file_is_closed_by_its_bytes_long_before_its_time(
    place: Place, tmp_path: Path, way: Way
) -> None:
    archive = Archive(tmp_path)
    payload = b'{"readings": {"t": "%s"}}' % (b"x" * 1_000)
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=600, file_bytes=10_000)
    with running(way(place, settings)):
        for _ in range(4):
            count = len(archive.files)
            publish(place, [payload] * 10)
            wait_until(lambda c=count: len(archive.files) > c, seconds=20, what="a file")  # type: ignore[misc]  # an int
    assert_nothing_is_missing(place, archive, 40)


def test_a_pipeline_archives_to_a_bucket(place: Place, storage: CloudStorage) -> None:
    settings = ArchiveSettings(folder=f"gs://{BUCKET}/archive", window_seconds=0.5)
    with running(by_hand(place, settings)):
        publish(place, [GOOD] * 3)
        wait_until(storage.names, seconds=20, what="an object")
    records = [
        record
        for name in storage.names()
        for record in fastavro.reader(BytesIO(storage.read(name)))
    ]
    assert len(records) == 3
    assert left(place) == 0


def test_a_message_is_leased_until_its_file_is_final(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The service's seconds are a tenth of ours: a lease of 20 s is over after two.
    real = time.monotonic
    monkeypatch.setattr(SystemClock, "monotonic", lambda clock: 10 * real())
    monkeypatch.setattr(pull, "_EXTEND_SECONDS", 0.3)
    archive = Archive(tmp_path)
    with running(by_hand(place, ArchiveSettings(folder=str(tmp_path), window_seconds=5))):
        publish(place, [GOOD] * 3)
        wait_until(lambda: archive() == 3, seconds=20, what="a file")
    archive.read()
    assert len(archive.records) == 3, "none came again while it waited"
    assert left(place) == 0


def test_pubsub_goes_on_sending_however_long_the_window(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (archive_module, archiver_module):
        monkeypatch.setattr(module, "MOST_MESSAGES", 100)
    archive = Archive(tmp_path)
    with running(by_hand(place, ArchiveSettings(folder=str(tmp_path), window_seconds=600))):
        publish(place, [GOOD] * 500)
        wait_until(lambda: archive() >= 450, seconds=20, what="all but the last files")
    assert_nothing_is_missing(place, archive, 500)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_by_way_of_the_runners_state_the_same_is_archived(place: Place, tmp_path: Path) -> None:
    settings = ArchiveSettings(folder=str(tmp_path), window_seconds=1, shards=2)
    archive = Archive(tmp_path)
    payloads = [GOOD, b"no JSON", *[GOOD] * 10]
    build = by_state(place, settings)

    with running(build):
        publish(place, payloads)
        wait_until(
            lambda: (archive(), len(archive.records))[1] >= len(payloads),
            seconds=20,
            what=lambda: f"{len(payloads)} messages, not {len(archive.records)}",
        )
    assert sorted(record["raw"] for record in archive.records) == sorted(payloads)
    assert {path.name.rpartition("-")[0][-8:] for path in archive.files} == {"00000-of", "00001-of"}


def test_on_dataflow_messages_wait_in_the_services_state() -> None:
    options = PipelineOptions(["--runner=DataflowRunner", "--streaming"])
    # Built with another runner's class: Dataflow's asks for a project and a bucket.
    pipeline = beam.Pipeline(runner="FnApiRunner", options=options)
    _ = pipeline | ArchivePubSub(SUBSCRIPTION, ArchiveSettings(folder="gs://bucket/folder"))
    todo: list[Any] = [pipeline._root_transform()]
    found = set()
    while todo:
        applied = todo.pop()
        todo += applied.parts
        found.add(type(applied.transform))
    assert {BeamReadFromPubSub, ArchiveBatches} <= found


def test_held_messages_never_leave_the_process_that_can_acknowledge_them() -> None:
    held = HeldMessages(None, PulledBatch([], 0.0))  # type: ignore[arg-type]  # not asked
    with pytest.raises(TypeError, match="in the read's own stage"):
        MessageListCoder().encode(held)


def test_a_folder_that_can_not_be_written_is_found_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DestinationRefused, match=r"file/archive can't be written: NotADirectory"):
        check_archive(str(tmp_path / "file" / "archive"))
    check_archive(str(tmp_path / "archive"))
