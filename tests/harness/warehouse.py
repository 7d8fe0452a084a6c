"""What the warehouse pipeline reads from Pub/Sub, and what has arrived in its table."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from schemas.times import format_time
from tests.harness.cloud import Cloud


def telemetry_message(number: int) -> tuple[bytes, dict[str, str]]:
    """A message as the telemetry pipeline writes it: data and attributes."""
    return (
        json.dumps({"readings": {"n": number}}).encode(),
        {
            "deviceId": "d1",
            "mqttTopic": "devices/d1/telemetry/env",
            "messageId": f"m-{number}",
            "messageIdFrom": "device",
            "receivedTime": format_time(datetime.now(UTC)),
            "schemaId": "reading.v1",
        },
    )


class DistinctRows:
    """Distinct rows, asked for so seldom that the asking is no load."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._count = 0
        self._next = 0.0

    def __call__(self) -> int:
        if time.monotonic() >= self._next:
            self._count = self._cloud.query(
                "SELECT COUNT(DISTINCT message_id) FROM {dataset}.telemetry"
            )[0][0]
            self._next = time.monotonic() + 0.05
        return self._count
