"""What became of a command, as the results topic tells it, and what holds of several tellings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from schemas.errors import InvalidOutcome
from schemas.messages.attributes import check_text
from schemas.times import format_time, parse_time

# json.dumps builds an encoder at each call, unless all is left at its defaults.
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Outcome(StrEnum):
    """What became of a command, the strongest first."""

    ACKNOWLEDGED = "acknowledged"
    """The device answered."""
    EXPIRED = "expired"
    """Its time was over before the broker took it."""
    ACCEPTED = "accepted"
    """The broker took it and someone subscribes; nothing is said of the device."""
    NO_SUBSCRIBER = "no_subscriber"
    """The broker took it and nobody subscribes."""
    REJECTED = "rejected"
    """The broker refused it; the reason code says why."""
    INVALID = "invalid"
    """It is no command: the reason says what is wrong with it."""

    @property
    def strength(self) -> int:
        """How much it says: a repeat may only replace a weaker one."""
        return _STRENGTHS[self]


_STRENGTHS = {outcome: strength for strength, outcome in enumerate(reversed(Outcome))}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of one command, as the results topic tells it. Raises InvalidOutcome.

    `device_id` is None for an invalid command that names no device; `reason_code` is
    MQTT's, where a broker gave one.
    """

    command_id: str
    outcome: Outcome
    time: datetime
    device_id: str | None = None
    reason: str | None = None
    reason_code: int | None = None

    def __post_init__(self) -> None:
        check_text("command id", self.command_id, InvalidOutcome)
        if self.device_id is not None:
            check_text("device id", self.device_id, InvalidOutcome)
        if self.time.tzinfo is None:
            raise InvalidOutcome("time must have a time zone")
        if self.reason_code is not None and not 0 <= self.reason_code <= 255:
            raise InvalidOutcome(f"reason code {self.reason_code} is none: expected 0 to 255")

    def attributes(self) -> dict[str, str]:
        """Return the Pub/Sub attributes, for those who filter by them."""
        attributes = {"commandId": self.command_id, "outcome": self.outcome.value}
        if self.device_id is not None:
            attributes["deviceId"] = self.device_id
        return attributes

    def to_json(self) -> bytes:
        """Return the Pub/Sub data: a JSON object without what is absent."""
        record: dict[str, str | int] = {
            "commandId": self.command_id,
            "outcome": self.outcome.value,
            "time": format_time(self.time),
        }
        if self.device_id is not None:
            record["deviceId"] = self.device_id
        if self.reason is not None:
            record["reason"] = self.reason
        if self.reason_code is not None:
            record["reasonCode"] = self.reason_code
        return _encode_json(record).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; raises InvalidOutcome."""
        try:
            record = json.loads(data)
            return cls(
                command_id=record["commandId"],
                outcome=Outcome(record["outcome"]),
                time=parse_time(record["time"]),
                device_id=record.get("deviceId"),
                reason=record.get("reason"),
                reason_code=record.get("reasonCode"),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidOutcome(f"{data[:200]!r} is no command outcome: {error!r}") from None


def strongest(outcomes: Iterable[CommandOutcome]) -> CommandOutcome:
    """Fold what was said of one command, repeats included, into what holds.

    The strongest outcome wins, the earliest of equal ones. Raises ValueError for no
    outcomes and for those of several commands.
    """
    said = sorted(outcomes, key=lambda outcome: (-outcome.outcome.strength, outcome.time))
    commands = {outcome.command_id for outcome in said}
    if len(commands) != 1:
        raise ValueError(f"outcomes of one command are needed, not of {len(commands)}")
    return said[0]
