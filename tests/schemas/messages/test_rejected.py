from datetime import UTC, datetime

import pytest

from schemas.messages import Rejected

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_its_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Rejected(stage="s", reason="r", origin="o", raw=b"", time=NOON.replace(tzinfo=None))
