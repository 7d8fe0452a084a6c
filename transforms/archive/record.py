"""What a record of the archive holds: the row of the table `telemetry`, and what it was made from.

The columns of the row come from `schemas.tables.TELEMETRY`, each nullable, because a message that
can't be decoded is archived all the same: without a row, with the reason. The rest is the Pub/Sub
message untouched, so that it can be sent again. Timestamps are `timestamp-micros`, which BigQuery
loads as TIMESTAMP with `--use_avro_logical_types`; JSON columns carry `sqlType: JSON`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from apache_beam.io.gcp.pubsub import PubsubMessage

from schemas.codec import Codec
from schemas.messages import Rejected
from schemas.tables import TELEMETRY, Field
from transforms.decode import row_or_rejected

_TYPES: Mapping[str, Any] = {
    "STRING": "string",
    "BOOL": "boolean",
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
    "JSON": {"type": "string", "sqlType": "JSON"},
}


def _avro_field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": ["null", _TYPES[field.type]],
        "default": None,
        "doc": field.description,
    }


SCHEMA: Mapping[str, Any] = {
    "type": "record",
    # No dots: BigQuery's load takes names and namespaces of [A-Za-z0-9_] only.
    "name": "archived_telemetry_v1",
    "namespace": "mqttbeam",
    "fields": [
        *map(_avro_field, TELEMETRY.fields),
        {"name": "raw", "type": "bytes", "doc": "The payload as Pub/Sub had it"},
        {
            "name": "attributes",
            "type": {"type": "map", "values": "string"},
            "doc": "The Pub/Sub attributes",
        },
        {"name": "ordering_key", "type": "string", "doc": "Pub/Sub's; empty without"},
        {
            "name": "rejected_reason",
            "type": ["null", "string"],
            "default": None,
            "doc": "Why there is no row, where the message could not be decoded",
        },
    ],
}
_PARSED = fastavro.parse_schema(dict(SCHEMA))
_NO_ROW: Mapping[str, None] = {field.name: None for field in TELEMETRY.fields}


class EncodedRecord(NamedTuple):
    """A record's bytes, and whether its message could not be decoded."""

    data: bytes
    rejected: bool


class RecordEncoder:
    """Makes records of messages.

    Args:
      origin: where they come from: a subscription.
      default_schema_id: the schema of messages that name none.
      clock: the time, in UTC.
    """

    def __init__(
        self,
        *,
        origin: str,
        default_schema_id: str | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._codec = Codec.packaged(default_schema_id=default_schema_id)
        self._origin = origin
        self._clock = clock

    def encode(self, message: PubsubMessage) -> EncodedRecord:
        """Encodes any message; there is none that has no record."""
        now = self._clock()
        made = row_or_rejected(message, self._codec, origin=self._origin, now=now)
        if isinstance(made, Rejected):
            return self._without_row(message, made.reason, now)
        try:
            return EncodedRecord(_encode(message, made.values, None), rejected=False)
        except UnicodeEncodeError as error:
            # JSON can name half a character ("\ud800"), which no text in UTF-8 can hold.
            return self._without_row(message, f"text that is no Unicode: {error.reason}", now)

    def _without_row(self, message: PubsubMessage, reason: str, now: datetime) -> EncodedRecord:
        known = {
            **_NO_ROW,
            "pubsub_message_id": message.message_id,
            "published_time": published_time(message),
            "processed_time": now,
        }
        return EncodedRecord(_encode(message, known, _valid(reason)), rejected=True)


def published_time(message: PubsubMessage) -> datetime:
    """Returns when Pub/Sub took a message, in UTC. Raises ValueError if it doesn't say."""
    published: datetime | None = message.publish_time
    if published is None:
        raise ValueError("a message without publish time did not come from a subscription")
    # Beam hands on naive UTC times.
    return published if published.tzinfo is not None else published.replace(tzinfo=UTC)


def _encode(message: PubsubMessage, row: Mapping[str, Any], reason: str | None) -> bytes:
    out = BytesIO()
    record = {
        **row,
        "raw": message.data or b"",
        "attributes": message.attributes or {},
        "ordering_key": message.ordering_key or "",
        "rejected_reason": reason,
    }
    fastavro.schemaless_writer(out, _PARSED, record)
    return out.getvalue()


def _valid(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
