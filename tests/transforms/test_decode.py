import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing.test_pipeline import TestPipeline as CheckedPipeline
from apache_beam.testing.util import assert_that, equal_to

from schemas.codec import Codec
from schemas.errors import UnknownSchema
from schemas.layout import layout_named
from schemas.messages import Telemetry
from schemas.tables import TELEMETRY
from transforms.bigquery.rows import RowWriter
from transforms.decode import DecodeMqtt, DecodeTelemetry, row_of
from transforms.lists import MessageList
from transforms.mqttio import MqttMessage

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PAYLOAD = b'{"readings": {"t": 21.5}}'


def message(payload: bytes, properties: Sequence[tuple[str, str]] = ()) -> PubsubMessage:
    telemetry = Telemetry.from_mqtt(
        "devices/pump-7/telemetry/motor",
        payload,
        received_time=NOON.timestamp(),
        user_properties=properties,
    )
    return PubsubMessage(payload, telemetry.attributes(), "77", NOON)


def row(payload: bytes, properties: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    sent = message(payload, properties)
    telemetry = Telemetry.from_pubsub(payload, sent.attributes)
    decoded = Codec.packaged().decode(payload, schema_id=telemetry.schema_id)
    return dict(
        row_of(
            telemetry,
            decoded,
            pubsub_message_id="77",
            published_time=NOON.replace(tzinfo=None),
            processed_time=NOON,
        )
    )


def test_a_row_has_the_columns_of_the_table() -> None:
    made = row(PAYLOAD, [("message-id", "m"), ("event-time", "2026-01-31T11:59:59Z")])
    assert list(made) == [field.name for field in TELEMETRY.fields]
    assert RowWriter(TELEMETRY.fields).serialize(made)
    assert made["event_time"] == NOON.replace(hour=11, minute=59, second=59)
    assert made["published_time"] == NOON
    assert json.loads(made["payload"]) == {"readings": {"t": 21.5}}


@pytest.mark.parametrize(
    ("payload", "properties", "message_id", "made_by", "deduplicable"),
    [
        (PAYLOAD, [("message-id", "m")], "m", "device", True),
        (b'{"message_id": "p"}', [], "p", "device", True),
        (b'{"message_id": "p"}', [("message-id", "m")], "m", "device", True),
        (b'{"timestamp": "2026-01-31T12:00:00Z"}', [], None, "content", True),
        (PAYLOAD, [], None, "content", False),
    ],
)
def test_a_row_says_whether_its_copies_can_be_told(
    payload: bytes,
    properties: list[tuple[str, str]],
    message_id: str | None,
    made_by: str,
    deduplicable: bool,
) -> None:
    made = row(payload, properties)
    content_id = message(payload).attributes["messageId"]
    assert made["message_id"] == (message_id or content_id)
    assert made["message_id_from"] == made_by
    assert made["deduplicable"] is deduplicable


def test_a_poison_message_is_rejected_and_its_neighbours_pass() -> None:
    schema = [("schema-id", "reading.v1")]
    messages = [
        message(PAYLOAD, schema),
        message(b"", schema),
        message(b"\xff", schema),
        message(b'{"readings": 1}', schema),
        PubsubMessage(b"{}", {}),
        [message(PAYLOAD), message(PAYLOAD)],
    ]
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        decoded = pipeline | beam.Create(messages, reshuffle=False) | DecodeTelemetry(origin="sub")
        assert_that(
            decoded.rows | "Devices" >> beam.Map(lambda row: row.values["device_id"]),
            equal_to(["pump-7"] * 3),
            label="rows",
        )
        assert_that(
            decoded.rejected | "Why" >> beam.Map(lambda r: (r.stage, r.origin, r.reason, r.raw)),
            equal_to(
                [
                    ("decode", "sub", "payload is empty: expected a record", b""),
                    ("decode", "sub", "payload is not valid UTF-8: byte 0xff at 0", b"\xff"),
                    (
                        "decode",
                        "sub",
                        "field readings: expected an object, got 1",
                        b'{"readings": 1}',
                    ),
                    ("decode", "sub", "attribute mqttTopic is missing", b"{}"),
                ]
            ),
            label="rejected",
        )


def test_an_unknown_default_schema_is_refused_before_the_start() -> None:
    with pytest.raises(UnknownSchema):
        DecodeTelemetry(origin="sub", default_schema_id="reading.v9")
    with pytest.raises(UnknownSchema):
        DecodeMqtt(layout=layout_named("default"), default_schema_id="reading.v9")


def from_mqtt(topic: str, payload: bytes, *properties: tuple[str, str]) -> MqttMessage:
    return MqttMessage(
        topic=topic,
        payload=payload,
        qos=1,
        retain=False,
        duplicate=False,
        received_time=NOON.timestamp(),
        user_properties=properties,
    )


def test_a_row_made_from_mqtt_is_that_made_from_pubsub_but_for_what_pubsub_adds() -> None:
    topic = "devices/pump-7/telemetry/motor"
    properties = [("message-id", "m"), ("event-time", "2026-01-31T11:59:59Z")]
    wanted = row(PAYLOAD, properties)
    added = {"published_time": None, "pubsub_message_id": None, "processed_time": None}
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        messages = MessageList([from_mqtt(topic, PAYLOAD, *properties)])
        decoded = (
            pipeline
            | beam.Create([messages], reshuffle=False)
            | DecodeMqtt(layout=layout_named("default"))
        )
        assert_that(
            decoded.rows | beam.Map(lambda made: {**made.values, **added}),
            equal_to([{**wanted, **added}]),
        )


def test_poison_from_mqtt_is_rejected_with_all_that_came_with_it() -> None:
    messages = MessageList(
        [
            from_mqtt("elsewhere", b"x", ("message-id", "m-1")),
            from_mqtt("devices/pump-7/telemetry", b"\xff", ("message-id", "m-2")),
            from_mqtt("devices/pump-7/telemetry", PAYLOAD),
        ]
    )
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        decoded = (
            pipeline
            | beam.Create([messages], reshuffle=False)
            | DecodeMqtt(layout=layout_named("default"))
        )
        assert_that(
            decoded.rows | "Devices" >> beam.Map(lambda row: row.values["device_id"]),
            equal_to(["pump-7"]),
            label="rows",
        )
        assert_that(
            decoded.rejected
            | beam.Map(
                lambda r: (
                    r.stage,
                    r.origin,
                    r.raw,
                    r.attributes.get("messageId"),
                    r.attributes.get("message-id"),
                )
            ),
            equal_to(
                [
                    ("decode", "elsewhere", b"x", None, "m-1"),
                    ("decode", "devices/pump-7/telemetry", b"\xff", "m-2", None),
                ]
            ),
            label="rejected",
        )
