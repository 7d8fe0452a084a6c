"""What can be wrong with a message, a topic or a schema.

    SchemaError
    ├── InvalidMessage          the sender's fault; the same bytes fail again
    │   ├── InvalidTelemetry      a topic, property or attribute of a device's message
    │   ├── InvalidCommand        an attribute of a command
    │   ├── InvalidOutcome        a command outcome that can't be read
    │   └── InvalidPayload        bytes that are not a record of their schema
    ├── InvalidTopicPart        a device id, command name or command id no topic can carry
    │   └── TopicNotInLayout      a topic the layout has no meaning for
    └── SchemaSettingError      our side's fault: mend the settings, then start again
        ├── UnknownLayout         no layout of that name
        └── UnknownSchema         no schema of that id

Each message names the thing, its value and what would be right, for the person who
reads it in a dead letter.
"""


class SchemaError(Exception):
    """Any error of this package."""


class InvalidMessage(SchemaError):
    """A message that breaks its contract; trying again changes nothing."""


class InvalidTelemetry(InvalidMessage):
    """A device's message whose topic, properties or attributes break the contract."""


class InvalidCommand(InvalidMessage):
    """A command that can't be sent to any device."""


class InvalidOutcome(InvalidMessage):
    """A message of the results topic that is no command outcome."""


class InvalidPayload(InvalidMessage):
    """Payload bytes that are not a record of their schema."""


class InvalidTopicPart(SchemaError):
    """A device id, command name or command id that can't stand in a topic."""


class TopicNotInLayout(InvalidTopicPart):
    """A topic that the layout gives no meaning to."""


class SchemaSettingError(SchemaError):
    """A setting that names something this package does not have."""


class UnknownLayout(SchemaSettingError):
    """No topic layout of that name."""


class UnknownSchema(SchemaSettingError):
    """No schema of that id."""
