"""What is acknowledged is in a file that is final."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import fastavro
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from tests.transforms.archive.messages import NOON, HeldList, message
from transforms.archive import archiver as archiver_module
from transforms.archive.archiver import Archiver
from transforms.archive.record import RecordEncoder
from transforms.archive.settings import (
    HELD_SECONDS,
    LONGEST_RETRY_SECONDS,
    LONGEST_WINDOW_SECONDS,
    ArchiveSettings,
)
from transforms.errors import DestinationUnavailable, InvalidSetting
from transforms.stop import request_stop, reset_stop


class MemoryFolder:
    """Keeps files; fails as often as it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failures = 0

    def write(self, name: str, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.files[name] = data

    def path(self, name: str) -> str:
        return f"memory/{name}"

    def clean(self) -> int:
        return 0

    def check(self) -> None:
        pass

    def ids(self) -> set[str]:
        return {
            record["pubsub_message_id"]  # type: ignore[call-overload, index]  # records are dicts
            for data in self.files.values()
            for record in fastavro.reader(BytesIO(data))
        }


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def folder() -> MemoryFolder:
    return MemoryFolder()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def stopping() -> Iterator[None]:
    request_stop()
    yield
    reset_stop()


def archiver(folder: MemoryFolder, time: Time, **settings: Any) -> Archiver:
    encoder = RecordEncoder(origin="sub", default_schema_id=None, clock=time.now)
    made = ArchiveSettings(folder="memory", **settings)
    return Archiver(folder, made, encoder, clock=time.now, monotonic=time.monotonic)


def test_nothing_is_acknowledged_before_its_file_is_final(folder: MemoryFolder, time: Time) -> None:
    tested = archiver(folder, time, window_seconds=60)
    held = HeldList(message(1), message(2))
    tested.add(held)
    time.seconds = 59
    assert tested.close_due() == []
    assert held.said == []
    time.seconds = 60
    (file,) = tested.close_due()
    assert held.said == ["acknowledged"]
    assert folder.ids() == {"1", "2"}
    assert (file.messages, file.rejected, file.late) == (2, 0, False)
    assert file.path.removeprefix("memory/") in folder.files


def test_a_list_is_acknowledged_with_the_last_of_its_files(
    folder: MemoryFolder, time: Time
) -> None:
    tested = archiver(folder, time, window_seconds=60)
    early = HeldList(message(1))
    both = HeldList(message(2), message(3, published=NOON + timedelta(hours=1)))
    tested.add(early)
    time.seconds = 30
    tested.add(both)
    time.seconds = 60
    tested.close_due()
    # Of `both` one message is final and the other is not.
    assert (early.said, both.said, folder.ids()) == (["acknowledged"], [], {"1", "2"})
    time.seconds = 90
    tested.close_due()
    assert (both.said, folder.ids()) == (["acknowledged"], {"1", "2", "3"})


def test_each_shard_and_late_data_have_files_of_their_own(folder: MemoryFolder, time: Time) -> None:
    tested = archiver(folder, time, shards=2)
    late = NOON - timedelta(hours=3)
    held = HeldList(*map(message, range(20)), *(message(n, published=late) for n in range(20, 40)))
    tested.add(held)
    files = tested.close_due(everything=True)
    assert len(files) == 4
    assert sum(file.messages for file in files) == 40
    names = sorted(name.partition("hour=")[2].partition("-")[0] for name in folder.files)
    assert names == ["09/late", "09/late", "12/telemetry", "12/telemetry"]
    assert held.said == ["acknowledged"]


def test_a_file_is_closed_when_it_is_large(folder: MemoryFolder, time: Time) -> None:
    tested = archiver(folder, time, file_bytes=1_000)
    tested.add(HeldList(message(1)))
    assert tested.close_due() == []
    tested.add(HeldList(*map(message, range(2, 9))))
    assert [file.messages for file in tested.close_due()] == [8]


def test_everything_is_closed_before_pubsub_stops_to_send(
    folder: MemoryFolder, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver_module, "MOST_MESSAGES", 10)
    tested = archiver(folder, time, shards=2)
    tested.add(HeldList(*map(message, range(4))))
    assert tested.close_due() == []
    tested.add(HeldList(*map(message, range(4, 6))))
    assert sum(file.messages for file in tested.close_due()) == 6
    tested.add(HeldList(*map(message, range(4))))
    assert tested.close_due() == [], "what was closed counts no more"


def test_a_record_counts_for_no_less_than_its_message_does_at_pubsub() -> None:
    encoder = RecordEncoder(origin="sub", default_schema_id=None)
    for sent in (message(1, key="k"), message(2, data=b""), PubsubMessage(b"", {}, "3", NOON)):
        at_pubsub = len(sent._to_proto_str(for_publish=True))
        assert len(encoder.encode(sent).data) >= at_pubsub


def test_a_lease_outlives_the_longest_wait_for_a_file() -> None:
    assert LONGEST_WINDOW_SECONDS + LONGEST_RETRY_SECONDS < HELD_SECONDS


def test_a_folder_that_is_away_for_a_while_costs_nothing(folder: MemoryFolder, time: Time) -> None:
    tested = archiver(folder, time)
    held = HeldList(message(1))
    tested.add(held)
    folder.failures = 2
    assert len(tested.close_due(everything=True)) == 1
    assert held.said == ["acknowledged"]


def test_a_folder_that_is_away_is_told_at_once_and_then_at_intervals(
    folder: MemoryFolder,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(archiver_module, "_LOG_EVERY_SECONDS", 1.0)
    tested = archiver(folder, time)
    tested.add(HeldList(message(1)))
    folder.failures = 7  # a second or two of pauses
    (file,) = tested.close_due(everything=True)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told[0] == f"archive: {file.path}: OSError: no space left; trying again for 0 s"
    assert 2 <= len(told) <= 3
    assert re.search(r"trying again for [1-3] s$", told[1])


def test_what_can_not_be_written_is_given_back_with_all_that_waits(
    folder: MemoryFolder, time: Time
) -> None:
    tested = archiver(folder, time, retry_seconds=0)
    waiting = HeldList(message(1, published=NOON + timedelta(hours=1)))
    failing = HeldList(message(2))
    tested.add(failing)
    time.seconds = 60
    tested.add(waiting)
    folder.failures = 1
    with pytest.raises(DestinationUnavailable, match=r"memory/year=2026.*no space left"):
        tested.close_due()
    assert (failing.said, waiting.said) == (["given back"], ["given back"])
    assert tested.close_due(everything=True) == []
    assert folder.files == {}


@pytest.mark.usefixtures("stopping")
def test_a_pipeline_that_is_to_end_does_not_wait_for_its_folder(
    folder: MemoryFolder, time: Time
) -> None:
    tested = archiver(folder, time, retry_seconds=600)
    tested.add(HeldList(message(1)))
    folder.failures = 1_000_000
    with pytest.raises(DestinationUnavailable):
        tested.close_due(everything=True)


def test_of_a_list_that_can_not_be_taken_nothing_is_acknowledged(
    folder: MemoryFolder, time: Time
) -> None:
    tested = archiver(folder, time)
    held = HeldList(message(1), PubsubMessage(b"no publish time", {}, "2"))
    with pytest.raises(ValueError, match="publish time"):
        tested.add(held)
    assert held.said == ["given back"]
    assert tested.close_due(everything=True) == []


def test_no_two_files_have_one_name(folder: MemoryFolder, time: Time) -> None:
    for tested in (archiver(folder, time), archiver(folder, time)):
        for number in range(3):
            tested.add(HeldList(message(number)))
            tested.close_due(everything=True)
    assert len(folder.files) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folder": ""}, "folder is empty"),
        ({"window_seconds": -1}, "window_seconds is -1"),
        ({"window_seconds": float("nan")}, "window_seconds is nan"),
        ({"window_seconds": 601}, "0 to 600"),
        ({"file_bytes": 0}, "file_bytes is 0"),
        ({"shards": 0}, "shards is 0"),
        ({"retry_seconds": 1_801}, "0 to 1800"),
    ],
)
def test_settings_that_can_not_be_right_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        ArchiveSettings(**{"folder": "f", **changes})
