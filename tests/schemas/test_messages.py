import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from schemas.errors import InvalidCommand, InvalidOutcome, InvalidTelemetry
from schemas.layout import IOT_CORE
from schemas.messages import (
    Command,
    CommandOutcome,
    DeviceRegistry,
    Outcome,
    Rejected,
    Telemetry,
    content_id,
    strongest,
)

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


def test_a_command_takes_the_pubsub_id_unless_it_brings_one() -> None:
    plain = Command.from_pubsub(b"x", {"deviceId": "a", "subFolder": "reboot"}, "77")
    assert (plain.command_id, plain.name, plain.expires_at) == ("77", "reboot", None)
    named = Command.from_pubsub(
        b"x",
        {
            "deviceId": "a",
            "commandId": "c-1",
            "commandName": "set/speed",
            "expiresAt": "2026-01-31T12:00:01Z",
            "contentType": "text/plain",
        },
        "77",
    )
    assert named.command_id == "c-1"
    assert named.seconds_left(NOON.replace(microsecond=0)) == 1.0
    assert Command.from_pubsub(b"x", named.attributes(), "78") == named


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "deviceId is missing"),
        ({"deviceId": "a/+"}, "device id 'a/\\+'"),
        ({"deviceId": "a", "commandName": "#"}, "command name '#'"),
        ({"deviceId": "a", "commandId": "x/y"}, "command id 'x/y'"),
        ({"deviceId": "a", "expiresAt": "soon"}, "expiresAt: 'soon'"),
    ],
)
def test_an_invalid_command_says_why(attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidCommand, match=reason):
        Command.from_pubsub(b"", attributes, "77")


def outcome(what: Outcome, seconds: int = 0) -> CommandOutcome:
    return CommandOutcome(
        command_id="c", outcome=what, time=NOON + timedelta(seconds=seconds), reason_code=16
    )


def test_the_strongest_outcome_holds_whatever_came_last() -> None:
    assert strongest([outcome(what, n) for n, what in enumerate(Outcome)]).outcome == "acknowledged"
    assert strongest([outcome(Outcome.EXPIRED), outcome(Outcome.ACCEPTED, 9)]).outcome == "expired"
    assert strongest([outcome(Outcome.ACCEPTED, 9), outcome(Outcome.ACCEPTED)]).time == NOON
    with pytest.raises(ValueError, match="one command"):
        strongest([])


def test_an_outcome_survives_its_json() -> None:
    said = CommandOutcome(
        command_id="c",
        device_id="pump-7",
        outcome=Outcome.REJECTED,
        reason="not authorized",
        reason_code=0x87,
        time=NOON.replace(microsecond=123000),
    )
    assert CommandOutcome.from_json(said.to_json()) == said
    assert said.attributes() == {"commandId": "c", "deviceId": "pump-7", "outcome": "rejected"}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"commandId":"c","outcome":"lost"}'])
def test_what_is_no_outcome_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidOutcome):
        CommandOutcome.from_json(data)


def test_times_need_a_zone_and_are_told_in_utc() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert (
        b"2026-01-31T12:00:00.123Z"
        in CommandOutcome(command_id="c", outcome=Outcome.ACCEPTED, time=east).to_json()
    )
    with pytest.raises(ValueError, match="time zone"):
        Rejected(stage="s", reason="r", origin="o", raw=b"", time=NOON.replace(tzinfo=None))
