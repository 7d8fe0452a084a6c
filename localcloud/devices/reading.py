"""What a device says at one moment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.times import format_time

SCHEMA_ID = "reading.v1"
CONTENT_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One device's payload and the time it speaks of.

    `malformed` says that it is broken on purpose, a simulated fault that must end in the dead
    letters: its payload breaks the schema, or its event time, `claimed_time` where the device
    claims another than `time`, is none.
    """

    device_id: str
    time: datetime
    payload: bytes
    claimed_time: str = ""
    malformed: bool = False

    @property
    def event_time(self) -> str:
        """What the device says its time is."""
        return self.claimed_time or format_time(self.time)


def encode(time: datetime, values: Mapping[str, float | str]) -> bytes:
    """Write a payload of schema `reading.v1` as JSON."""
    record = {"timestamp": format_time(time), "readings": values}
    return json.dumps(record, separators=(",", ":")).encode()
