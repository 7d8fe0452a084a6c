from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.transforms.archive.messages import NOON
from transforms.archive.naming import Place, file_name, hour_of, is_late, shard_of

HOUR = hour_of(NOON)
OVER = NOON + timedelta(hours=1)


def test_a_file_lies_in_the_folder_of_its_hour() -> None:
    name = file_name(
        Place(hour=HOUR, late=False, shard=2), begun=NOON, writer="w1", number=7, shards=4
    )
    assert name == (
        "year=2026/month=01/day=31/hour=12/telemetry-20260131T120000Z-w1-000007-00002-of-00004.avro"
    )


def test_what_is_late_is_in_a_file_of_its_own_beside_it() -> None:
    late = Place(hour=HOUR, late=True, shard=0)
    name = file_name(late, begun=OVER + timedelta(minutes=9), writer="w1", number=1, shards=1)
    assert name == (
        "year=2026/month=01/day=31/hour=12/late-20260131T130900Z-w1-000001-00000-of-00001.avro"
    )


@pytest.mark.parametrize(("seconds", "late"), [(-1, False), (300, False), (301, True)])
def test_late_is_what_comes_when_the_hour_is_long_over(seconds: float, late: bool) -> None:
    now = OVER + timedelta(seconds=seconds)
    assert is_late(HOUR, now=now, late_after_seconds=300) is late


def test_an_hour_ends_where_the_next_begins() -> None:
    assert hour_of(NOON.replace(minute=59, second=59, microsecond=999_999)) == HOUR
    assert hour_of(OVER) == HOUR + 1
    assert hour_of(datetime(1970, 1, 1, tzinfo=UTC)) == 0


def test_a_repeat_falls_to_the_same_shard_and_all_shards_are_used() -> None:
    shards = [shard_of(str(number), 4) for number in range(100)]
    assert shards == [shard_of(str(number), 4) for number in range(100)]
    assert set(shards) == {0, 1, 2, 3}
