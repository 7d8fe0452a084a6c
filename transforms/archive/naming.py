"""Where a message belongs in the archive, and what files are called. Pure.

    FOLDER/year=2026/month=11/day=23/hour=06/
        telemetry-20261123T061328Z-9f3c21d0b7aa4e15-000007-00002-of-00004.avro
        late-20261123T074500Z-9f3c21d0b7aa4e15-000031-00000-of-00004.avro

The hour is the one in which Pub/Sub took the message, in UTC: a device's clock may be years off,
and a message that can't be decoded has no time of its own. A name holds the time at which the
file was begun, who wrote it, the how-manyeth it is, and the shard. Who has read an hour when it
was over for `late_after_seconds` and a window finds what came later in files named `late-`.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

HOUR_SECONDS = 3_600


class Place(NamedTuple):
    """Messages that may share a file: an hour (since the epoch), late or not, a shard."""

    hour: int
    late: bool
    shard: int


def hour_of(published: datetime) -> int:
    """Returns the hour in which Pub/Sub took a message, since the epoch."""
    return int(published.timestamp()) // HOUR_SECONDS


def shard_of(message_id: str, shards: int) -> int:
    """Returns a message's shard, of its Pub/Sub id: a repeat falls to the same."""
    return zlib.crc32(message_id.encode()) % shards


def is_late(hour: int, *, now: datetime, late_after_seconds: float) -> bool:
    """Whether what is archived now comes late for its hour."""
    over = datetime.fromtimestamp((hour + 1) * HOUR_SECONDS, UTC)
    return now > over + timedelta(seconds=late_after_seconds)


def file_name(place: Place, *, begun: datetime, writer: str, number: int, shards: int) -> str:
    """Returns a file's name below the archive's folder, with `/` between its parts."""
    hour = datetime.fromtimestamp(place.hour * HOUR_SECONDS, UTC)
    return (
        f"{hour:year=%Y/month=%m/day=%d/hour=%H}/"
        f"{'late' if place.late else 'telemetry'}-{begun.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        f"-{writer}-{number:06}-{place.shard:05}-of-{shards:05}.avro"
    )
