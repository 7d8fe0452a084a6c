"""What a device is told to do, from Pub/Sub to its command topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from schemas.errors import InvalidCommand, InvalidTopicPart
from schemas.layout import DEFAULT, check_device_id, check_topic_level
from schemas.messages.attributes import required
from schemas.times import format_time, parse_time

COMMAND_ID_PROPERTY = "command-id"


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
            device_id=required(attributes, "deviceId", InvalidCommand),
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
