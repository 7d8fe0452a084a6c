"""Who a client is and what it may do. Pure values; ``broker.registry`` builds them.

A right allows what it contains and denies what it overlaps; a denial wins; what nothing allows is
denied. Filters are never matched against filters: ``a/+`` does not allow subscribing to ``a/#``,
and a denied ``a/secret/#`` refuses ``a/#``.

The rights of a role are there once, however many thousands hold it: who it is given to stands in
its filters as ``%device``, and is put there when something is asked.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mqtt.topics import TopicFilter

DEVICE = "%device"
"""In a role's filters: the name of the device that holds it, as a whole level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Filters that are allowed and filters that are denied, for one kind of action."""

    allow: tuple[TopicFilter, ...] = ()
    deny: tuple[TopicFilter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What may be published to, what may be subscribed to, and where a will may go.

    A will is not a publish: whoever may publish to a topic may not leave a will there for that.
    """

    publish: Rules = Rules()
    subscribe: Rules = Rules()
    will: Rules = Rules()

    @property
    def for_devices_only(self) -> bool:
        """Whether DEVICE stands in a filter."""
        return any(
            DEVICE in each.levels
            for rules in (self.publish, self.subscribe, self.will)
            for each in rules.allow + rules.deny
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role's rights as one has them. ``device``: who DEVICE is; None: a service, and nobody."""

    role: str
    rights: Rights
    device: str | None = None


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

    ``client_id`` is a device's own identifier, or the prefix of a service's: an empty one is that
    of all identifiers. ``grants``: of its own role, and of those of the devices that it speaks for;
    what one denies, no other allows.
    """

    name: str
    kind: PrincipalKind
    client_id: str
    grants: tuple[Grant, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a principal's name must not be empty")
        if not self.client_id and self.kind is PrincipalKind.DEVICE:
            raise ValueError(f"device {self.name!r}: the client id must not be empty")

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
        rules = [(grant.rights.publish, grant.device) for grant in self.grants]
        return not topic.startswith(SERVER_TOPICS) and _permit_topic(rules, topic)

    def may_leave_will(self, topic: str) -> bool:
        """Whether a will to ``topic`` may come with CONNECT."""
        rules = [(grant.rights.will, grant.device) for grant in self.grants]
        return not topic.startswith(SERVER_TOPICS) and _permit_topic(rules, topic)

    def may_subscribe(self, topic_filter: TopicFilter) -> bool:
        """Whether the filter may be subscribed to, whatever its share name."""
        rules = [(grant.rights.subscribe, grant.device) for grant in self.grants]
        return any(
            rule.covers(topic_filter) for rule in _allowing(rules, topic_filter.levels)
        ) and not any(
            _bound(rule, device).overlaps(topic_filter)
            for each, device in rules
            for rule in each.deny
        )

    def regranted(self, rights: Mapping[str, Rights]) -> Principal:
        """The same one, where its roles have these rights now; all of its roles are there."""
        grants = tuple([replace(grant, rights=rights[grant.role]) for grant in self.grants])
        return replace(self, grants=grants)


_Given = Sequence[tuple[Rules, str | None]]


def _permit_topic(rules: _Given, topic: str) -> bool:
    levels = topic.split("/")
    return any(rule.matches(topic) for rule in _allowing(rules, levels)) and not any(
        _bound(rule, device).matches(topic) for each, device in rules for rule in each.deny
    )


def _allowing(rules: _Given, levels: Sequence[str]) -> Iterator[TopicFilter]:
    """What could allow something of these levels: a device's own must be among them.

    So a gateway of a thousand devices is asked for the rights of the one that the topic names.
    """
    for each, device in rules:
        for rule in each.allow:
            if DEVICE not in rule.levels or device in levels:
                yield _bound(rule, device)


def _bound(rule: TopicFilter, device: str | None) -> TopicFilter:
    if DEVICE not in rule.levels:
        return rule
    if device is None:
        raise ValueError(f"the filter '{rule}' uses '{DEVICE}', which only a device has")
    return rule.with_level(DEVICE, device)
