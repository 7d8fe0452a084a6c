"""Who a client is and what it may do. Pure values; ``broker.registry`` builds them.

A right allows what it contains and denies what it overlaps; a denial wins; what nothing allows is
denied. Filters are never matched against filters: ``a/+`` does not allow subscribing to ``a/#``,
and a denied ``a/secret/#`` refuses ``a/#``.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from mqtt.topics import TopicFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Filters that are allowed and filters that are denied, for one kind of action."""

    allow: tuple[TopicFilter, ...] = ()
    deny: tuple[TopicFilter, ...] = ()

    def permit_topic(self, topic: str) -> bool:
        """Whether the legal topic name ``topic`` is allowed."""
        return any(rule.matches(topic) for rule in self.allow) and not any(
            rule.matches(topic) for rule in self.deny
        )

    def permit_filter(self, topic_filter: TopicFilter) -> bool:
        """Whether everything that ``topic_filter`` can match is allowed."""
        return any(rule.covers(topic_filter) for rule in self.allow) and not any(
            rule.overlaps(topic_filter) for rule in self.deny
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What may be published to, what may be subscribed to, and where a will may go.

    A will is not a publish: whoever may publish to a topic may not leave a will there for that.
    """

    publish: Rules = Rules()
    subscribe: Rules = Rules()
    will: Rules = Rules()


_CLOUD_CLIENT_ID = re.compile(r"projects/[^/]+/locations/[^/]+/registries/[^/]+/devices/([^/]+)")


def device_of_client_id(client_id: str) -> str:
    """The device of a client identifier as IoT Core had them, ``projects/P/…/devices/D``: D.

    Any other identifier is the device itself.
    """
    found = _CLOUD_CLIENT_ID.fullmatch(client_id)
    return client_id if found is None else found[1]


SERVER_TOPICS = "$SYS/"
"""What the broker tells of itself: no role lets a client publish there."""


class PrincipalKind(enum.Enum):
    """A device has one client identifier, its own; a service has those under its prefix."""

    DEVICE = "device"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A client that proved who it is.

    ``client_id`` is a device's own identifier, or the prefix of a service's.
    """

    name: str
    kind: PrincipalKind
    client_id: str
    rights: Rights

    def __post_init__(self) -> None:
        if not self.name or not self.client_id:
            raise ValueError(f"principal {self.name!r}: name and client id must not be empty")

    def own_client_id(self, client_id: str) -> str | None:
        """The client identifier if it is this principal's, as sessions know it, else None.

        A device may bear its identifier of IoT Core: it is one device all the same, with one
        session.
        """
        if self.kind is PrincipalKind.DEVICE:
            return self.client_id if device_of_client_id(client_id) == self.client_id else None
        return client_id if client_id.startswith(self.client_id) else None

    def assign_client_id(self, token: str) -> str:
        """The identifier of a client that left it to the server; ``token`` makes it unique."""
        return self.client_id if self.kind is PrincipalKind.DEVICE else self.client_id + token

    def may_publish(self, topic: str) -> bool:
        """Whether a message may be published to ``topic``."""
        return not topic.startswith(SERVER_TOPICS) and self.rights.publish.permit_topic(topic)

    def may_leave_will(self, topic: str) -> bool:
        """Whether a will to ``topic`` may come with CONNECT."""
        return not topic.startswith(SERVER_TOPICS) and self.rights.will.permit_topic(topic)

    def may_subscribe(self, topic_filter: TopicFilter) -> bool:
        """Whether the filter may be subscribed to, whatever its share name."""
        return self.rights.subscribe.permit_filter(topic_filter)
