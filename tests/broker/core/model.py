"""A model of the specification, which shares no code with the broker: who gets which message."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

EXPIRY = 3_600


def matches(pattern: str, topic: str) -> bool:
    """Section 4.7 once more, by recursion."""
    if pattern[0] in "+#" and topic[0] == "$":
        return False

    def rest(levels: list[str], names: list[str]) -> bool:
        if not levels:
            return not names
        if levels[0] == "#":
            return True
        return bool(names) and levels[0] in ("+", names[0]) and rest(levels[1:], names[1:])

    return rest(pattern.split("/"), topic.split("/"))


@dataclass(frozen=True)
class Expected:
    """One message as a client should see it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Subscribed:
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int | None


@dataclass
class ModelSession:
    """What the specification says of a session. ``left``: when its connection ended, or None."""

    lasting: bool
    v5: bool
    left: float | None = None
    will: tuple[str, bytes, int, bool] | None = None
    subscriptions: dict[str, Subscribed] = field(default_factory=dict)
    next: deque[Expected] = field(default_factory=deque)


class Model:
    """Decides by the specification alone; ``now`` in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sessions: dict[str, ModelSession] = {}
        self.retained: dict[str, tuple[bytes, int]] = {}

    def connect(self, name: str, *, clean: bool, v5: bool, lasting: bool) -> bool:
        """Returns Session Present."""
        self.end_connection(name, with_will=True)
        if clean:
            self.sessions.pop(name, None)
        present = name in self.sessions
        session = self.sessions.setdefault(name, ModelSession(lasting, v5))
        session.lasting, session.v5, session.left = lasting, v5, None
        return present

    def end_connection(self, name: str, *, with_will: bool) -> None:
        session = self.sessions.get(name)
        if session is None or session.left is not None:
            return
        session.left = self.now
        session.next = deque(item for item in session.next if item.qos)
        will, session.will = session.will, None
        if will is not None and with_will:
            self.publish(name, *will)
        if not session.lasting:
            del self.sessions[name]

    def publish(self, by: str, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if retain:
            self.retained.pop(topic, None)
            if payload:
                self.retained[topic] = (payload, qos)
        for name, session in self.sessions.items():
            found = [
                item
                for pattern, item in session.subscriptions.items()
                if matches(pattern, topic) and not (item.no_local and by == name)
            ]
            if not found:
                continue
            granted = min(qos, max(item.qos for item in found))
            if session.left is not None and granted == 0:
                continue
            flag = retain and any(item.retain_as_published for item in found)
            ids = tuple(sorted(i.identifier for i in found if i.identifier is not None))
            session.next.append(Expected(topic, payload, granted, flag, ids))

    def subscribe(self, name: str, pattern: str, item: Subscribed) -> list[Expected]:
        """Returns the retained messages that must come, in any order."""
        self.sessions[name].subscriptions[pattern] = item
        ids = () if item.identifier is None else (item.identifier,)
        return [
            Expected(topic, payload, min(qos, item.qos), True, ids)
            for topic, (payload, qos) in self.retained.items()
            if matches(pattern, topic)
        ]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name, session in list(self.sessions.items()):
            if session.left is not None and self.now - session.left >= EXPIRY:
                del self.sessions[name]
