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

    `malformed` says that the payload breaks the schema on purpose: a simulated fault, which
    must end in the dead letters.
    """

    device_id: str
    time: datetime
    payload: bytes
    malformed: bool = False


def encode(time: datetime, values: Mapping[str, float | str]) -> bytes:
    """Write a payload of schema `reading.v1` as JSON."""
    record = {"timestamp": format_time(time), "readings": values}
    return json.dumps(record, separators=(",", ":")).encode()
