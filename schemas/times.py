"""Times on the wire: RFC 3339 in UTC with milliseconds, `2026-01-31T12:00:00.123Z`."""

from datetime import UTC, datetime
from functools import lru_cache

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


def format_time(moment: datetime) -> str:
    """Write an aware time as RFC 3339 in UTC, cut (not rounded) to milliseconds."""
    # Without the microseconds, with which a float may be the next second.
    seconds = int(moment.replace(microsecond=0).timestamp())
    return _seconds(seconds) + _MILLISECONDS[moment.microsecond // 1000]


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; raises ValueError that says what would be right.

    `datetime.fromisoformat` takes more of ISO 8601 (week dates, no zone), so the shape
    is checked besides. Digits beyond microseconds are cut.
    """
    try:
        moment = datetime.fromisoformat(text)
        shaped = text[4] == text[7] == "-" and text[10] in "Tt " and text[13] == text[16] == ":"
    except (ValueError, IndexError):
        shaped = False
    if not shaped or moment.tzinfo is None:
        raise ValueError(f"{text!r} is no RFC 3339 time such as 2026-01-31T12:00:00.123Z")
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the years 1 to 9999 in UTC") from None


@lru_cache(maxsize=1024)
def _seconds(epoch_seconds: int) -> str:
    # Neighbouring messages share their second: formatting it anew costs 3 times as much.
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat()[:19]
