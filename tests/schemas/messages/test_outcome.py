from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.errors import InvalidOutcome
from schemas.messages import CommandOutcome, Outcome, strongest

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def outcome(what: Outcome, seconds: int = 0) -> CommandOutcome:
    return CommandOutcome(
        command_id="c", outcome=what, time=NOON + timedelta(seconds=seconds), reason_code=16
    )


def test_the_strongest_outcome_holds_whatever_came_last() -> None:
    assert strongest([outcome(what, n) for n, what in enumerate(Outcome)]).outcome == "acknowledged"
    assert strongest([outcome(Outcome.EXPIRED), outcome(Outcome.ACCEPTED, 9)]).outcome == "expired"
    assert strongest([outcome(Outcome.ACCEPTED, 9), outcome(Outcome.ACCEPTED)]).time == NOON
    with pytest.raises(ValueError, match="one command"):
        strongest([])


def test_an_outcome_survives_its_json() -> None:
    said = CommandOutcome(
        command_id="c",
        device_id="pump-7",
        outcome=Outcome.REJECTED,
        reason="not authorized",
        reason_code=0x87,
        time=NOON.replace(microsecond=123000),
    )
    assert CommandOutcome.from_json(said.to_json()) == said
    assert said.attributes() == {"commandId": "c", "deviceId": "pump-7", "outcome": "rejected"}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"commandId":"c","outcome":"lost"}'])
def test_what_is_no_outcome_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidOutcome):
        CommandOutcome.from_json(data)


def test_its_time_is_told_in_utc() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert (
        b"2026-01-31T12:00:00.123Z"
        in CommandOutcome(command_id="c", outcome=Outcome.ACCEPTED, time=east).to_json()
    )
