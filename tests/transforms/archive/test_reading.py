from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.storage import BUCKET, CloudStorage
from tests.transforms.archive.messages import message
from transforms.archive import ReadArchive
from transforms.archive.container import AvroCodec, Container
from transforms.archive.folder import open_folder
from transforms.archive.naming import Place, file_name, hour_of
from transforms.archive.reading import files_of, folders_of, messages_of
from transforms.archive.record import SCHEMA, RecordEncoder
from transforms.errors import SourceUnreadable

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def folder(moment: datetime) -> str:
    name = file_name(
        Place(hour_of(moment), late=False, shard=0), begun=moment, writer="w", number=1, shards=1
    )
    return name.rpartition("/")[0]


def archived(path: Path, *messages: PubsubMessage) -> Path:
    container = Container(SCHEMA, AvroCodec.DEFLATE)
    encoder = RecordEncoder(origin="sub", default_schema_id=None)
    for item in messages:
        container.add(encoder.encode(item).data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(container.finish())
    return path


@pytest.mark.parametrize(
    ("since", "until", "patterns"),
    [
        (NOON, NOON + HOUR, ["year=2026/month=01/day=31/hour=12"]),
        (NOON, NOON + timedelta(microseconds=1), ["year=2026/month=01/day=31/hour=12"]),
        (
            NOON + 10 * HOUR,
            NOON + 37 * HOUR,
            [
                "year=2026/month=01/day=31/hour=22",
                "year=2026/month=01/day=31/hour=23",
                "year=2026/month=02/day=01/hour=*",
                "year=2026/month=02/day=02/hour=00",
            ],
        ),
        (
            datetime(2024, 1, 1, tzinfo=UTC),
            datetime(2025, 3, 1, tzinfo=UTC),
            [
                "year=2024/month=*/day=*/hour=*",
                "year=2025/month=01/day=*/hour=*",
                "year=2025/month=02/day=*/hour=*",
            ],
        ),
    ],
)
def test_whole_days_months_and_years_are_listed_at_once(
    since: datetime, until: datetime, patterns: list[str]
) -> None:
    assert folders_of(since, until) == patterns


def test_all_times_are_a_list_request_a_year() -> None:
    every = folders_of(
        datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    )
    assert len(every) < 9_000
    assert every[0] == "year=2000/month=*/day=*/hour=*"


_TIMES = st.datetimes(datetime(2023, 11, 1), datetime(2026, 3, 1), timezones=st.just(UTC))


@given(_TIMES, st.timedeltas(timedelta(microseconds=1), timedelta(days=800)), st.data())
def test_the_patterns_hold_each_hour_of_the_time_once_and_no_other(
    since: datetime, length: timedelta, data: st.DataObject
) -> None:
    until = since + length
    patterns = folders_of(since, until)

    def matches(moment: datetime) -> int:
        return sum(fnmatchcase(folder(moment), pattern) for pattern in patterns)

    within = since + data.draw(st.timedeltas(timedelta(0), length - timedelta(microseconds=1)))
    assert matches(within) == 1
    assert matches(since - HOUR) == 0
    last = until - timedelta(microseconds=1)
    assert matches(last) == 1
    assert matches(last + HOUR) == 0


def test_only_messages_of_the_time_are_given_and_as_they_were(tmp_path: Path) -> None:
    first = message(1, published=NOON)
    second = message(2, published=NOON + timedelta(microseconds=1))
    name = archived(tmp_path / folder(NOON) / "telemetry-1.avro", first, second)
    (found,) = files_of(folders_of(NOON, NOON + HOUR)[0], str(tmp_path))
    assert found == str(name)
    wanted = [(item.data, item.attributes) for item in (first,)]
    read = messages_of(found, since=NOON, until=NOON + timedelta(microseconds=1))
    assert [(item.data, item.attributes) for item in read] == wanted


def test_an_archive_in_a_bucket_is_read(storage: CloudStorage, tmp_path: Path) -> None:
    data = archived(tmp_path / "x.avro", message(1, published=NOON)).read_bytes()
    for moment in (NOON, NOON + HOUR, NOON + 48 * HOUR):
        open_folder(f"gs://{BUCKET}/archive").write(f"{folder(moment)}/telemetry-1.avro", data)
    since = NOON.replace(hour=0)
    files = [
        path
        for pattern in folders_of(since, since + 24 * HOUR)
        for path in files_of(pattern, f"gs://{BUCKET}/archive")
    ]
    assert files == [
        f"gs://{BUCKET}/archive/{folder(moment)}/telemetry-1.avro" for moment in (NOON, NOON + HOUR)
    ]
    (read,) = messages_of(files[0], since=NOON, until=NOON + HOUR)
    assert read.attributes["messageId"] == "m-1"


def test_a_damaged_file_is_told_by_its_name_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    path = archived(tmp_path / "x.avro", *(message(n, published=NOON) for n in range(50)))
    whole = path.read_bytes()
    rng = random.Random(1)
    words: list[str] = []
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            list(messages_of(str(path), since=NOON, until=NOON + HOUR))
        except SourceUnreadable as error:
            words.append(str(error))
    assert len(words) > 100
    assert all(str(path) in item for item in words)
    for length in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceUnreadable, match=r"x\.avro"):
            list(messages_of(str(path), since=NOON, until=NOON + HOUR))


@pytest.mark.parametrize(
    ("where", "since", "until"),
    [
        ("ar[1]", NOON, NOON + HOUR),
        ("", NOON, NOON + HOUR),
        ("archive", NOON, NOON),
        ("archive", NOON.replace(tzinfo=None), NOON),
    ],
)
def test_a_read_of_nothing_or_of_a_pattern_is_refused_when_built(
    where: str, since: datetime, until: datetime
) -> None:
    with pytest.raises(ValueError, match=r"\* \? \[|must be before|time zone"):
        ReadArchive(where, since=since, until=until)
