import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.errors import InvalidTelemetry
from schemas.layout import IOT_CORE
from schemas.messages import DeviceRegistry, Telemetry, content_id

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TOPIC = "devices/pump-7/telemetry/motor"


def telemetry(**changes: Any) -> Telemetry:
    given = {"topic": TOPIC, "payload": b"\xff\0", "received_time": NOON.timestamp()}
    arguments: dict[str, Any] = given | changes
    return Telemetry.from_mqtt(**arguments)


def test_a_publish_becomes_the_attributes_of_the_contract() -> None:
    message = telemetry(
        content_type="application/json",
        user_properties=[
            ("message-id", "m-1"),
            ("event-time", "2026-01-31T13:00:00.5+01:00"),
            ("schema-id", "reading.v1"),
            ("colour", "blue"),
        ],
    )
    assert message.payload == b"\xff\0"
    assert message.attributes() == {
        "deviceId": "pump-7",
        "subFolder": "motor",
        "mqttTopic": TOPIC,
        "messageId": "m-1",
        "messageIdFrom": "device",
        "contentType": "application/json",
        "schemaId": "reading.v1",
        "eventTime": "2026-01-31T12:00:00.500Z",
        "receivedTime": "2026-01-31T12:00:00.123Z",
    }


def test_what_is_absent_is_left_out() -> None:
    attributes = telemetry(topic="devices/a/telemetry", user_properties=[("message-id", "")])
    assert set(attributes.attributes()) == {
        "deviceId",
        "mqttTopic",
        "messageId",
        "messageIdFrom",
        "receivedTime",
    }


def test_without_a_device_id_the_content_names_the_message() -> None:
    first, again, other = telemetry(), telemetry(), telemetry(payload=b"other")
    assert first.message_id_from == "content"
    assert first.message_id == again.message_id == content_id(TOPIC, b"\xff\0")
    assert first.message_id != other.message_id
    assert content_id("a", b"bc") != content_id("ab", b"c")


def test_iot_core_consumers_find_their_attributes() -> None:
    registry = DeviceRegistry(
        project_id="p", location="eu", registry_id="r", device_numbers={"a": "12"}
    )
    message = telemetry(topic="/devices/a/events", layout=IOT_CORE)
    attributes = message.attributes(registry)
    assert attributes["deviceNumId"] == "12"
    assert attributes["projectId"] == "p"
    assert attributes["deviceRegistryId"] == "r"
    assert attributes["deviceRegistryLocation"] == "eu"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"topic": "house/kitchen"}, "house/kitchen"),
        ({"topic": "devices//telemetry"}, "device id is empty"),
        ({"topic": "devices/" + "x" * 1100}, "means nothing here"),
        ({"topic": "devices/a/telemetry/" + "x" * 1100}, "topic has 1120 bytes"),
        ({"topic": "devices/a/telemetry/" + "ü" * 600}, "topic has 1220 bytes"),
        ({"user_properties": [("message-id", "x" * 1025)]}, "message id has 1025 bytes"),
        ({"user_properties": [("schema-id", "x" * 1025)]}, "schema id has 1025 bytes"),
        ({"content_type": "x" * 1025}, "content type has 1025 bytes"),
        ({"user_properties": [("event-time", "yesterday")]}, "event-time: 'yesterday'"),
        ({"user_properties": [("event-time", "2026-01-31T12:00:00")]}, "RFC 3339"),
        ({"user_properties": [("event-time", "2026-W05-6T12:00:00Z")]}, "RFC 3339"),
    ],
)
def test_a_publish_that_breaks_the_contract_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidTelemetry, match=reason):
        telemetry(**changes)


def test_telemetry_survives_pubsub_and_pickling() -> None:
    message = telemetry(
        received_time=NOON.replace(microsecond=123000).timestamp(),
        user_properties=[("event-time", "2026-01-31T12:00:00Z"), ("schema-id", "reading.v1")],
    )
    assert Telemetry.from_pubsub(message.payload, message.attributes()) == message
    assert pickle.loads(pickle.dumps(message)) == message


@pytest.mark.parametrize("missing", ["deviceId", "mqttTopic", "receivedTime"])
def test_a_pubsub_message_without_a_required_attribute_names_it(missing: str) -> None:
    attributes = telemetry().attributes()
    del attributes[missing]
    with pytest.raises(InvalidTelemetry, match=f"attribute {missing} is missing"):
        Telemetry.from_pubsub(b"", attributes)
