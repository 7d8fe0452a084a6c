"""Which MQTT topic means what.

Layout `default`:

    devices/{device}/telemetry[/{stream…}]      device -> cloud
    devices/{device}/state                      device -> cloud
    devices/{device}/commands[/{name…}]         cloud -> device
    devices/{device}/config                     cloud -> device
    devices/{device}/responses/{command id}     device -> cloud

Layout `iot-core`, the topics of Google Cloud IoT Core's devices, which know no responses:

    /devices/{device}/events[/{subfolder…}]     device -> cloud
    /devices/{device}/state                     device -> cloud
    /devices/{device}/commands[/{name…}]        cloud -> device
    /devices/{device}/config                    cloud -> device
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from schemas.errors import InvalidTopicPart, TopicNotInLayout, UnknownLayout

MAXIMUM_DEVICE_ID_BYTES = 256

Kind = Literal["telemetry", "state"]


class TelemetryTopic(NamedTuple):
    """What a device's topic says: who, which stream ('' if none), telemetry or state."""

    device_id: str
    stream: str
    kind: Kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """One way to lay out topics; `DEFAULT` and `IOT_CORE` are the two there are.

    Compared and hashed by identity, which is cheap in the caches that it keys; a pickle is the
    name alone.
    """

    name: str
    prefix: str
    telemetry_level: str
    has_responses: bool

    def __reduce__(self) -> tuple[Callable[[str], Layout], tuple[str]]:
        return layout_named, (self.name,)

    def telemetry_from_topic(self, topic: str) -> TelemetryTopic:
        """Read the topic of a device's telemetry or state; raises TopicNotInLayout."""
        return _parse(self.prefix, self.telemetry_level, topic)

    def telemetry_filters(self) -> tuple[str, ...]:
        """Return the filters for every device's telemetry, without state."""
        return (f"{self.prefix}+/{self.telemetry_level}/#",)

    def state_filters(self) -> tuple[str, ...]:
        """Return the filters for every device's state."""
        return (f"{self.prefix}+/state",)

    def response_filters(self) -> tuple[str, ...]:
        """Return the filters for every device's answers; none where there are no responses."""
        return (f"{self.prefix}+/responses/+",) if self.has_responses else ()

    def telemetry_topic(self, device_id: str, stream: str = "") -> str:
        """Return the topic a device publishes a stream's telemetry on."""
        return self._topic(device_id, self.telemetry_level, _levels("stream", stream))

    def state_topic(self, device_id: str) -> str:
        """Return the topic a device publishes its state on."""
        return self._topic(device_id, "state")

    def command_topic(self, device_id: str, name: str = "") -> str:
        """Return the topic of a command; a name may have several levels."""
        return _command_topic(self, device_id, name)

    def command_filter(self, device_id: str) -> str:
        """Return the filter a device subscribes to for all its commands."""
        return self._topic(device_id, "commands", "#")

    def config_topic(self, device_id: str) -> str:
        """Return the topic of a device's configuration."""
        return self._topic(device_id, "config")

    def response_topic(self, device_id: str, command_id: str) -> str | None:
        """Return the topic a device answers a command on; None where there are no responses."""
        if not self.has_responses:
            return None
        return self._topic(device_id, "responses", check_topic_level("command id", command_id))

    def response_from_topic(self, topic: str) -> tuple[str, str]:
        """Read `(device id, command id)` from a response's topic; raises TopicNotInLayout."""
        levels = topic.removeprefix(self.prefix).split("/")
        if not self.has_responses or not topic.startswith(self.prefix) or len(levels) != 3:
            raise TopicNotInLayout(f"topic {_short(topic)} is no response of layout {self.name}")
        device_id, level, command_id = levels
        if level != "responses":
            raise TopicNotInLayout(f"topic {_short(topic)} is no response of layout {self.name}")
        return check_device_id(device_id), check_topic_level("command id", command_id)

    def _topic(self, device_id: str, level: str, rest: str = "") -> str:
        topic = f"{self.prefix}{check_device_id(device_id)}/{level}"
        return f"{topic}/{rest}" if rest else topic


DEFAULT = Layout(name="default", prefix="devices/", telemetry_level="telemetry", has_responses=True)
IOT_CORE = Layout(
    name="iot-core", prefix="/devices/", telemetry_level="events", has_responses=False
)
LAYOUTS = {layout.name: layout for layout in (DEFAULT, IOT_CORE)}


def layout_named(name: str) -> Layout:
    """Return the layout of that name; raises UnknownLayout."""
    try:
        return LAYOUTS[name]
    except KeyError:
        known = ", ".join(LAYOUTS)
        raise UnknownLayout(f"no topic layout {name!r}: there are {known}") from None


@lru_cache(maxsize=65_536)
def _command_topic(layout: Layout, device_id: str, name: str) -> str:
    return layout._topic(device_id, "commands", _levels("command name", name))


@lru_cache(maxsize=16_384)
def check_device_id(device_id: str) -> str:
    """Return the device id if a topic level can carry it; raises InvalidTopicPart.

    A leading `$` is refused as well: brokers keep such names to themselves
    ($SYS, $share), [MQTT-4.7.2-1].
    """
    if device_id.startswith("$"):
        raise InvalidTopicPart(f"device id {_short(device_id)} begins with '$', which is reserved")
    return check_topic_level("device id", device_id)


def check_topic_level(what: str, value: str) -> str:
    """Return the value if it is one level of a topic name; raises InvalidTopicPart."""
    if not value:
        raise InvalidTopicPart(f"{what} is empty: it must have at least one character")
    for character in "/+#\0":
        if character in value:
            raise InvalidTopicPart(
                f"{what} {_short(value)} holds {character!r}: "
                "'/', '+', '#' and NUL can't be part of it"
            )
    size = _utf8_size(what, value)
    if size > MAXIMUM_DEVICE_ID_BYTES:
        raise InvalidTopicPart(
            f"{what} {_short(value)} has {size} bytes: at most {MAXIMUM_DEVICE_ID_BYTES} fit"
        )
    return value


def _levels(what: str, value: str) -> str:
    """Return a path of levels, '' allowed, if a topic name can carry it."""
    for character in "+#\0":
        if character in value:
            raise InvalidTopicPart(
                f"{what} {_short(value)} holds {character!r}: '+', '#' and NUL can't be part of it"
            )
    if value and "" in value.split("/"):
        raise InvalidTopicPart(f"{what} {_short(value)} has an empty level")
    _utf8_size(what, value)
    return value


def _utf8_size(what: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise InvalidTopicPart(f"{what} {value!a} is not valid Unicode text") from None


# A fleet's topics repeat, and reading one costs ten times as much as looking it up.
@lru_cache(maxsize=16_384)
def _parse(prefix: str, telemetry_level: str, topic: str) -> TelemetryTopic:
    if topic.startswith(prefix):
        device_id, level, *rest = [*topic[len(prefix) :].split("/", 2), ""]
        stream = rest[0] if rest else ""
        if level == telemetry_level:
            for character in "+#\0":
                if character in stream:
                    raise TopicNotInLayout(
                        f"topic {_short(topic)} holds {character!r}, which no topic name may"
                    )
            return TelemetryTopic(check_device_id(device_id), stream, "telemetry")
        if level == "state" and len(rest) < 2:
            return TelemetryTopic(check_device_id(device_id), "", "state")
    raise TopicNotInLayout(
        f"topic {_short(topic)} means nothing here: expected "
        f"{prefix}{{device}}/{telemetry_level}[/{{stream}}] or {prefix}{{device}}/state"
    )


def _short(value: str) -> str:
    """Quote a value for a message, cut where it would bury the rest of it."""
    return repr(value) if len(value) <= 120 else f"{value[:100]!r}… ({len(value)} characters)"
