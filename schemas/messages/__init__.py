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

from schemas.messages.attributes import MAXIMUM_ATTRIBUTE_VALUE_BYTES
from schemas.messages.command import COMMAND_ID_PROPERTY, Command
from schemas.messages.outcome import CommandOutcome, Outcome, strongest
from schemas.messages.rejected import Rejected
from schemas.messages.telemetry import (
    EVENT_TIME_PROPERTY,
    MESSAGE_ID_PROPERTY,
    SCHEMA_ID_PROPERTY,
    DeviceRegistry,
    Telemetry,
    content_id,
)

__all__ = [
    "COMMAND_ID_PROPERTY",
    "EVENT_TIME_PROPERTY",
    "MAXIMUM_ATTRIBUTE_VALUE_BYTES",
    "MESSAGE_ID_PROPERTY",
    "SCHEMA_ID_PROPERTY",
    "Command",
    "CommandOutcome",
    "DeviceRegistry",
    "Outcome",
    "Rejected",
    "Telemetry",
    "content_id",
    "strongest",
]
