"""What a device published, on its way to Pub/Sub and from there to BigQuery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal, Self

from schemas.errors import InvalidTelemetry, InvalidTopicPart
from schemas.layout import DEFAULT, Layout, check_device_id
from schemas.messages.attributes import check_text, required
from schemas.times import format_time, parse_time

MESSAGE_ID_PROPERTY = "message-id"
EVENT_TIME_PROPERTY = "event-time"
SCHEMA_ID_PROPERTY = "schema-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRegistry:
    """The IoT Core registry that a consumer expects to read of in the attributes.

    `device_numbers` maps device ids to IoT Core's numeric ids; a device that is not in
    it has no `deviceNumId`.
    """

    project_id: str
    location: str
    registry_id: str
    device_numbers: Mapping[str, str] = field(default_factory=dict)

    def attributes(self, device_id: str) -> dict[str, str]:
        """Return IoT Core's attributes beyond the device id and the subfolder."""
        attributes = {
            "projectId": self.project_id,
            "deviceRegistryId": self.registry_id,
            "deviceRegistryLocation": self.location,
        }
        if number := self.device_numbers.get(device_id):
            attributes["deviceNumId"] = number
        return attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What a device published: who, when, on which topic, and its bytes untouched.

    `message_id_from` is `device` where the device gave the id (user property
    `message-id`) and `content` where it is a hash of topic and payload: the same for
    a redelivery, but also for an equal reading. Raises InvalidTelemetry.
    """

    device_id: str
    topic: str
    payload: bytes
    message_id: str
    message_id_from: Literal["device", "content"]
    received_time: datetime
    stream: str = ""
    content_type: str | None = None
    schema_id: str | None = None
    event_time: datetime | None = None

    def __post_init__(self) -> None:
        try:
            check_device_id(self.device_id)
        except InvalidTopicPart as error:
            raise InvalidTelemetry(str(error)) from None
        check_text("topic", self.topic, InvalidTelemetry)
        check_text("message id", self.message_id, InvalidTelemetry)
        if self.stream:
            check_text("stream", self.stream, InvalidTelemetry)
        if self.content_type:
            check_text("content type", self.content_type, InvalidTelemetry)
        if self.schema_id:
            check_text("schema id", self.schema_id, InvalidTelemetry)
        if self.received_time.tzinfo is None or (
            self.event_time is not None and self.event_time.tzinfo is None
        ):
            raise InvalidTelemetry("event time and received time must have a time zone")

    @classmethod
    def from_mqtt(
        cls,
        topic: str,
        payload: bytes,
        *,
        received_time: float,
        user_properties: Sequence[tuple[str, str]] = (),
        content_type: str | None = None,
        layout: Layout = DEFAULT,
    ) -> Self:
        """Build it from a PUBLISH; `received_time` is in seconds since the epoch.

        The user properties `message-id`, `event-time` (RFC 3339) and `schema-id` are
        read, the first of a name counts, an empty one counts as absent, and others are
        left alone. Raises InvalidTelemetry: a topic outside the layout, a device id
        that is none, a value Pub/Sub's attributes can't carry, an event time that is
        no time.
        """
        try:
            device_id, stream, _ = layout.telemetry_from_topic(topic)
        except InvalidTopicPart as error:
            raise InvalidTelemetry(str(error)) from None
        message_id = schema_id = event_text = ""
        for name, value in user_properties:
            if name == MESSAGE_ID_PROPERTY:
                message_id = message_id or value
            elif name == EVENT_TIME_PROPERTY:
                event_text = event_text or value
            elif name == SCHEMA_ID_PROPERTY:
                schema_id = schema_id or value
        return cls(
            device_id=device_id,
            stream=stream,
            topic=topic,
            payload=payload,
            message_id=message_id or content_id(topic, payload),
            message_id_from="device" if message_id else "content",
            content_type=content_type or None,
            schema_id=schema_id or None,
            event_time=_event_time("user property event-time", event_text),
            received_time=datetime.fromtimestamp(received_time, UTC),
        )

    @classmethod
    def from_pubsub(cls, data: bytes, attributes: Mapping[str, str]) -> Self:
        """Build it from a Pub/Sub message that carries `attributes()`.

        `deviceId`, `mqttTopic` and `receivedTime` are required; without `messageId` the
        id is that of the content. Raises InvalidTelemetry that names the attribute.
        """
        topic = required(attributes, "mqttTopic", InvalidTelemetry)
        message_id = attributes.get("messageId", "")
        received = _event_time(
            "attribute receivedTime", required(attributes, "receivedTime", InvalidTelemetry)
        )
        assert received is not None  # the attribute is not empty
        return cls(
            device_id=required(attributes, "deviceId", InvalidTelemetry),
            stream=attributes.get("subFolder", ""),
            topic=topic,
            payload=data,
            message_id=message_id or content_id(topic, data),
            message_id_from=_id_origin(attributes) if message_id else "content",
            content_type=attributes.get("contentType") or None,
            schema_id=attributes.get("schemaId") or None,
            event_time=_event_time("attribute eventTime", attributes.get("eventTime", "")),
            received_time=received,
        )

    def attributes(self, registry: DeviceRegistry | None = None) -> dict[str, str]:
        """Return the Pub/Sub attributes; with a registry those of IoT Core as well."""
        attributes = {
            "deviceId": self.device_id,
            "mqttTopic": self.topic,
            "messageId": self.message_id,
            "messageIdFrom": self.message_id_from,
            "receivedTime": format_time(self.received_time),
        }
        if self.stream:
            attributes["subFolder"] = self.stream
        if self.content_type:
            attributes["contentType"] = self.content_type
        if self.schema_id:
            attributes["schemaId"] = self.schema_id
        if self.event_time is not None:
            attributes["eventTime"] = format_time(self.event_time)
        if registry is not None:
            attributes |= registry.attributes(self.device_id)
        return attributes


def content_id(topic: str, payload: bytes) -> str:
    """Return the id of a message that brings none: 32 hexadecimal digits.

    The zero byte, which no topic holds, keeps (`a`, `bc`) apart from (`ab`, `c`).
    """
    return blake2b(topic.encode() + b"\0" + payload, digest_size=16).hexdigest()


def _id_origin(attributes: Mapping[str, str]) -> Literal["device", "content"]:
    match attributes.get("messageIdFrom", "device"):
        case "device":
            return "device"
        case "content":
            return "content"
        case other:
            raise InvalidTelemetry(
                f"attribute messageIdFrom is {other!r}: expected 'device' or 'content'"
            )


def _event_time(what: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidTelemetry(f"{what}: {error}") from None
