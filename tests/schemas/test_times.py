"""Times are read and written between the years 1 and 9999, and cut to milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import format_time, parse_time


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_cut_to_milliseconds_and_never_rounded_up(moment: datetime) -> None:
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert parse_time(format_time(moment)) == cut


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("2026-01-31T12:00:00.9999999+01:00", "2026-01-31T11:00:00.999Z"),
    ],
)
def test_the_ends_of_time_are_written(text: str, written: str) -> None:
    assert format_time(parse_time(text)) == written


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_time_that_utc_does_not_hold_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        parse_time(text)
