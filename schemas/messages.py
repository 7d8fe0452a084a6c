"""The messages that travel between devices, Pub/Sub and BigQuery.

All are frozen and checked when built: whoever holds one need not check it again. The
attribute names are those of Google Cloud IoT Core where it had one. Times are aware
datetimes here and RFC 3339 in UTC with milliseconds on the wire; what is absent is
left out there, never sent empty.

    Telemetry        device -> Pub/Sub `telemetry`          -> BigQuery
    Command          Pub/Sub `commands` -> device
    CommandOutcome   what became of a command -> Pub/Sub `command-results`
    Rejected         what could not be taken, with the reason -> dead letters
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Literal, Self

from schemas.errors import InvalidCommand, InvalidOutcome, InvalidTelemetry, InvalidTopicPart
from schemas.layout import DEFAULT, Layout, check_device_id, check_topic_level
from schemas.times import format_time, parse_time

# Pub/Sub's limit on an attribute's value [cloud.google.com/pubsub/quotas].
MAXIMUM_ATTRIBUTE_VALUE_BYTES = 1024

MESSAGE_ID_PROPERTY = "message-id"
EVENT_TIME_PROPERTY = "event-time"
SCHEMA_ID_PROPERTY = "schema-id"
COMMAND_ID_PROPERTY = "command-id"

# json.dumps builds an encoder at each call, unless all is left at its defaults.
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
        _check_text("topic", self.topic, InvalidTelemetry)
        _check_text("message id", self.message_id, InvalidTelemetry)
        if self.stream:
            _check_text("stream", self.stream, InvalidTelemetry)
        if self.content_type:
            _check_text("content type", self.content_type, InvalidTelemetry)
        if self.schema_id:
            _check_text("schema id", self.schema_id, InvalidTelemetry)
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
        topic = _required(attributes, "mqttTopic", InvalidTelemetry)
        message_id = attributes.get("messageId", "")
        received = _event_time(
            "attribute receivedTime", _required(attributes, "receivedTime", InvalidTelemetry)
        )
        assert received is not None  # the attribute is not empty
        return cls(
            device_id=_required(attributes, "deviceId", InvalidTelemetry),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Bytes for one device, from the commands topic. Raises InvalidCommand."""

    device_id: str
    command_id: str
    data: bytes
    name: str = ""
    expires_at: datetime | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        try:
            check_device_id(self.device_id)
            check_topic_level("command id", self.command_id)
            DEFAULT.command_topic(self.device_id, self.name)
        except InvalidTopicPart as error:
            raise InvalidCommand(str(error)) from None
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise InvalidCommand("expiresAt must have a time zone")

    @classmethod
    def from_pubsub(cls, data: bytes, attributes: Mapping[str, str], message_id: str) -> Self:
        """Build it from a Pub/Sub message and its id.

        Attributes: `deviceId`; optional `commandName` (IoT Core's `subFolder` is taken
        as the same), `commandId` (else the Pub/Sub message id), `expiresAt` (RFC 3339)
        and `contentType`. Raises InvalidCommand that names the attribute.
        """
        expires = attributes.get("expiresAt", "")
        try:
            expires_at = parse_time(expires) if expires else None
        except ValueError as error:
            raise InvalidCommand(f"attribute expiresAt: {error}") from None
        return cls(
            device_id=_required(attributes, "deviceId", InvalidCommand),
            command_id=attributes.get("commandId") or message_id,
            data=data,
            name=attributes.get("commandName") or attributes.get("subFolder") or "",
            expires_at=expires_at,
            content_type=attributes.get("contentType") or None,
        )

    def attributes(self) -> dict[str, str]:
        """Return the Pub/Sub attributes that `from_pubsub` reads."""
        attributes = {"deviceId": self.device_id, "commandId": self.command_id}
        if self.name:
            attributes["commandName"] = self.name
        if self.expires_at is not None:
            attributes["expiresAt"] = format_time(self.expires_at)
        if self.content_type:
            attributes["contentType"] = self.content_type
        return attributes

    def seconds_left(self, now: datetime) -> float | None:
        """Return the seconds until it expires, 0 or less once it has; None if it never does."""
        return None if self.expires_at is None else (self.expires_at - now).total_seconds()


class Outcome(StrEnum):
    """What became of a command, the strongest first."""

    ACKNOWLEDGED = "acknowledged"
    """The device answered."""
    EXPIRED = "expired"
    """Its time was over before the broker took it."""
    ACCEPTED = "accepted"
    """The broker took it and someone subscribes; nothing is said of the device."""
    NO_SUBSCRIBER = "no_subscriber"
    """The broker took it and nobody subscribes."""
    REJECTED = "rejected"
    """The broker refused it; the reason code says why."""
    INVALID = "invalid"
    """It is no command: the reason says what is wrong with it."""

    @property
    def strength(self) -> int:
        """How much it says: a repeat may only replace a weaker one."""
        return _STRENGTHS[self]


_STRENGTHS = {outcome: strength for strength, outcome in enumerate(reversed(Outcome))}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of one command, as the results topic tells it. Raises InvalidOutcome.

    `device_id` is None for an invalid command that names no device; `reason_code` is
    MQTT's, where a broker gave one.
    """

    command_id: str
    outcome: Outcome
    time: datetime
    device_id: str | None = None
    reason: str | None = None
    reason_code: int | None = None

    def __post_init__(self) -> None:
        _check_text("command id", self.command_id, InvalidOutcome)
        if self.device_id is not None:
            _check_text("device id", self.device_id, InvalidOutcome)
        if self.time.tzinfo is None:
            raise InvalidOutcome("time must have a time zone")
        if self.reason_code is not None and not 0 <= self.reason_code <= 255:
            raise InvalidOutcome(f"reason code {self.reason_code} is none: expected 0 to 255")

    def attributes(self) -> dict[str, str]:
        """Return the Pub/Sub attributes, for those who filter by them."""
        attributes = {"commandId": self.command_id, "outcome": self.outcome.value}
        if self.device_id is not None:
            attributes["deviceId"] = self.device_id
        return attributes

    def to_json(self) -> bytes:
        """Return the Pub/Sub data: a JSON object without what is absent."""
        record: dict[str, str | int] = {
            "commandId": self.command_id,
            "outcome": self.outcome.value,
            "time": format_time(self.time),
        }
        if self.device_id is not None:
            record["deviceId"] = self.device_id
        if self.reason is not None:
            record["reason"] = self.reason
        if self.reason_code is not None:
            record["reasonCode"] = self.reason_code
        return _encode_json(record).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote; raises InvalidOutcome."""
        try:
            record = json.loads(data)
            return cls(
                command_id=record["commandId"],
                outcome=Outcome(record["outcome"]),
                time=parse_time(record["time"]),
                device_id=record.get("deviceId"),
                reason=record.get("reason"),
                reason_code=record.get("reasonCode"),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidOutcome(f"{data[:200]!r} is no command outcome: {error!r}") from None


def strongest(outcomes: Iterable[CommandOutcome]) -> CommandOutcome:
    """Fold what was said of one command, repeats included, into what holds.

    The strongest outcome wins, the earliest of equal ones. Raises ValueError for no
    outcomes and for those of several commands.
    """
    said = sorted(outcomes, key=lambda outcome: (-outcome.outcome.strength, outcome.time))
    commands = {outcome.command_id for outcome in said}
    if len(commands) != 1:
        raise ValueError(f"outcomes of one command are needed, not of {len(commands)}")
    return said[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What could not be decoded, mapped or accepted: reason, stage, origin, raw bytes.

    `stage` names the step that refused it (`decode`, `publish`, `bigquery`), `origin`
    where it came from or was bound for (a topic, a subscription, a table), and
    `attributes` are those of the original message.
    """

    stage: str
    reason: str
    origin: str
    raw: bytes
    time: datetime
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stage or not self.reason:
            raise ValueError("a rejected message needs a stage and a reason")
        if self.time.tzinfo is None:
            raise ValueError("the time of a rejection must have a time zone")


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


def _required(attributes: Mapping[str, str], name: str, invalid: type[Exception]) -> str:
    if value := attributes.get(name):
        return value
    raise invalid(f"attribute {name} is missing")


def _check_text(what: str, value: str, invalid: type[Exception]) -> None:
    """Refuse what a Pub/Sub attribute can't carry."""
    if value.isascii():
        size = len(value)
        if 0 < size <= MAXIMUM_ATTRIBUTE_VALUE_BYTES:
            return
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise invalid(f"{what} {value[:100]!a} is not valid Unicode text") from None
        if size <= MAXIMUM_ATTRIBUTE_VALUE_BYTES:
            return
    if not size:
        raise invalid(f"{what} is empty")
    raise invalid(
        f"{what} has {size} bytes ({value[:60]!r}…): "
        f"Pub/Sub's attributes take at most {MAXIMUM_ATTRIBUTE_VALUE_BYTES}"
    )
