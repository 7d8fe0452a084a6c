"""Bytes of a typical message, counted on our own messages and tables.

Typical: a device id of 14 characters, the default layout, a message id of 36 characters and an
event time from the device, a content type and a schema id. A name that is a character longer costs
two bytes in Pub/Sub (id and topic), and as many in the row.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from schemas.messages import Telemetry
from schemas.tables import TELEMETRY

_DEVICE = "device-0000001"
_MESSAGE_ID = "00000000-0000-4000-8000-000000000000"
_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_PUBSUB_ID = "17950291071622015"
"""A message id as Pub/Sub gives them."""

PUBSUB_TIME_BYTES = 20
"""Of each message's volume, "20 bytes for the timestamp" (Pub/Sub pricing)."""
PUBSUB_REQUEST_BYTES = 1_000
"""The least that is counted for a request (Pub/Sub pricing)."""
_FIXED_BYTES: Mapping[str, int] = {"BOOL": 1, "TIMESTAMP": 8, "INT64": 8, "FLOAT64": 8}
_STRING_BYTES = 2
"""Of a string, beside its UTF-8 (BigQuery pricing, data size calculation)."""


def typical(payload_bytes: int) -> Telemetry:
    """The message that is counted, with a payload of so many bytes."""
    return Telemetry(
        device_id=_DEVICE,
        topic=f"devices/{_DEVICE}/telemetry",
        payload=b"0" * payload_bytes,
        message_id=_MESSAGE_ID,
        message_id_from="device",
        received_time=_TIME,
        content_type="application/json",
        schema_id="reading.v1",
        event_time=_TIME,
    )


def pubsub_bytes(payload_bytes: int) -> int:
    """A message's volume in Pub/Sub: data, attributes, time and id."""
    attributes = typical(payload_bytes).attributes()
    return (
        payload_bytes
        + sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
        + PUBSUB_TIME_BYTES
        + len(_PUBSUB_ID)
    )


def row_values(payload_bytes: int) -> dict[str, str | None]:
    """The texts of the columns that have one; None for an absent one. Others are of fixed size."""
    message = typical(payload_bytes)
    return {
        "message_id": message.message_id,
        "message_id_from": message.message_id_from,
        "device_id": message.device_id,
        "stream": None,
        "topic": message.topic,
        "schema_id": message.schema_id,
        "content_type": message.content_type,
        "pubsub_message_id": _PUBSUB_ID,
        "payload": message.payload.decode(),
    }


def row_bytes(payload_bytes: int) -> int:
    """A row's logical size in the table `telemetry`; the payload counts as its JSON text."""
    texts = row_values(payload_bytes)
    size = 0
    for column in TELEMETRY.fields:
        if (fixed := _FIXED_BYTES.get(column.type)) is not None:
            size += fixed
        elif (text := texts[column.name]) is not None:
            size += len(text.encode()) + (_STRING_BYTES if column.type == "STRING" else 0)
    return size
