from __future__ import annotations

import json
from datetime import timedelta
from io import BytesIO
from typing import Any

import fastavro
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from schemas.tables import TELEMETRY
from tests.transforms.archive.messages import NOON, PAYLOAD, message
from transforms.archive.record import SCHEMA, RecordEncoder, published_time

LATER = NOON + timedelta(seconds=5)


def record(sent: PubsubMessage) -> tuple[dict[str, Any], bool]:
    encoder = RecordEncoder(origin="sub", default_schema_id=None, clock=lambda: LATER)
    data, rejected = encoder.encode(sent)
    found = fastavro.schemaless_reader(BytesIO(data), dict(SCHEMA), None)
    assert isinstance(found, dict)
    return found, rejected


def test_a_record_is_the_row_of_the_table_and_what_it_was_made_from() -> None:
    sent = message(7, key="pump-7")
    found, rejected = record(sent)
    assert not rejected
    assert list(found)[: len(TELEMETRY.fields)] == [field.name for field in TELEMETRY.fields]
    assert found["message_id"] == "m-7"
    assert found["device_id"] == "pump-7"
    assert json.loads(found["payload"]) == json.loads(PAYLOAD)
    assert (found["published_time"], found["processed_time"]) == (NOON, LATER)
    assert (found["raw"], found["attributes"]) == (PAYLOAD, sent.attributes)
    assert (found["ordering_key"], found["rejected_reason"]) == ("pump-7", None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"[1]", "object"),
    ],
)
def test_what_cant_be_decoded_is_archived_with_the_reason_and_its_bytes(
    data: bytes, words: str
) -> None:
    found, rejected = record(message(1, data=data))
    assert rejected
    assert words in found["rejected_reason"]
    assert found["raw"] == data
    assert found["attributes"]["messageId"] == "m-1"
    assert (found["message_id"], found["pubsub_message_id"]) == (None, "1")
    assert (found["published_time"], found["processed_time"]) == (NOON, LATER)


def test_a_message_without_attributes_is_archived() -> None:
    found, rejected = record(PubsubMessage(PAYLOAD, {}, "9", NOON))
    assert rejected
    assert found["raw"] == PAYLOAD
    assert found["attributes"] == {}


def test_half_a_character_in_a_payload_costs_neither_record_nor_neighbours() -> None:
    data = b'{"message_id": "\\ud800", "readings": {}}'
    found, _ = record(message(1, data=data))
    assert found["raw"] == data


def test_bigquery_finds_timestamps_and_json_in_the_schema() -> None:
    types = {field["name"]: field["type"][1] for field in SCHEMA["fields"][: len(TELEMETRY.fields)]}
    assert types["received_time"] == {"type": "long", "logicalType": "timestamp-micros"}
    assert types["payload"] == {"type": "string", "sqlType": "JSON"}


def test_a_naive_publish_time_is_utc() -> None:
    assert published_time(message(1, published=NOON.replace(tzinfo=None))) == NOON


def test_a_message_without_publish_time_is_refused() -> None:
    with pytest.raises(ValueError, match="did not come from a subscription"):
        published_time(PubsubMessage(b"x", {}))
