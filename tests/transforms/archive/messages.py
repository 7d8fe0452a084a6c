"""Messages as a held read gives them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from apache_beam.io.gcp.pubsub import PubsubMessage

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PAYLOAD = b'{"readings": {"t": 21.5}}'


def message(
    number: int, *, data: bytes = PAYLOAD, published: datetime = NOON, key: str = ""
) -> PubsubMessage:
    attributes = {
        "deviceId": "pump-7",
        "mqttTopic": "devices/pump-7/telemetry/motor",
        "messageId": f"m-{number}",
        "messageIdFrom": "device",
        "receivedTime": "2026-01-31T12:00:00Z",
    }
    return PubsubMessage(data, attributes, str(number), published, key)


class HeldList:
    """A list of messages that remembers what was said of it."""

    def __init__(self, *messages: PubsubMessage) -> None:
        self._messages = messages
        self.said: list[str] = []

    def __iter__(self) -> Iterator[PubsubMessage]:
        return iter(self._messages)

    def acknowledge(self) -> None:
        self.said.append("acknowledged")

    def give_back(self) -> None:
        self.said.append("given back")
