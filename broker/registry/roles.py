"""Roles: named rights, with ``%device`` for the device's own id.

``STANDARD_ROLES`` keep the contract of the two topic layouts (``default`` and ``iot-core``): a
device publishes and subscribes only under its own name, a pipeline does only what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from broker.auth.principal import DEVICE, Rights, Rules
from mqtt.topics import TopicFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """Filters as they stand in the registry, ``%device`` included. Checked when built."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.allow + self.deny:
            # '%device' is legal text for a level; it must stand alone in its own.
            if any(DEVICE in level and level != DEVICE for level in pattern.split("/")):
                raise ValueError(f"filter {pattern!r}: '%device' must be a whole level")
            if TopicFilter.parse(pattern).share is not None:
                raise ValueError(
                    f"filter {pattern!r}: rights are about topics; leave '$share/NAME/' out"
                )

    @property
    def rules(self) -> Rules:
        """The rules of all who hold the role."""
        return Rules(
            allow=tuple(map(TopicFilter.parse, self.allow)),
            deny=tuple(map(TopicFilter.parse, self.deny)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What its holders may publish and subscribe to, and where their wills may go.

    What is not given allows nothing: a role that only publishes allows no will.
    """

    publish: Patterns = Patterns()
    subscribe: Patterns = Patterns()
    will: Patterns = Patterns()

    @property
    def rights(self) -> Rights:
        """The rights of all who hold it."""
        return _rights(self)

    @property
    def for_devices_only(self) -> bool:
        """Whether ``%device`` stands in a filter."""
        return self.rights.for_devices_only


@lru_cache(maxsize=1_024)
def _rights(role: Role) -> Rights:
    return Rights(publish=role.publish.rules, subscribe=role.subscribe.rules, will=role.will.rules)


STANDARD_ROLES = {
    "device": Role(
        publish=Patterns(
            allow=(
                "devices/%device/telemetry/#",
                "devices/%device/state",
                "devices/%device/responses/#",
                "/devices/%device/events/#",
                "/devices/%device/state",
            )
        ),
        subscribe=Patterns(
            allow=(
                "devices/%device/commands/#",
                "devices/%device/config",
                "/devices/%device/commands/#",
                "/devices/%device/config",
            )
        ),
        # A last reading or state; a command's answer is none.
        will=Patterns(
            allow=(
                "devices/%device/telemetry/#",
                "devices/%device/state",
                "/devices/%device/events/#",
                "/devices/%device/state",
            )
        ),
    ),
    "telemetry-pipeline": Role(
        subscribe=Patterns(
            allow=(
                "devices/+/telemetry/#",
                "devices/+/state",
                "/devices/+/events/#",
                "/devices/+/state",
            )
        )
    ),
    "command-pipeline": Role(
        publish=Patterns(
            allow=(
                "devices/+/commands/#",
                "devices/+/config",
                "/devices/+/commands/#",
                "/devices/+/config",
            )
        ),
        subscribe=Patterns(allow=("devices/+/responses/#",)),
    ),
    "observer": Role(subscribe=Patterns(allow=("#",))),
    "monitor": Role(subscribe=Patterns(allow=("$SYS/#",))),
}
"""Roles that every registry has, unless it defines one of the same name."""
