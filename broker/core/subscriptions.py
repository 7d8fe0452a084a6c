"""Who gets a topic: a trie of filters, with the answer remembered for each topic.

``Subscriptions.lookup`` walks the trie once for a topic and remembers the answer until a
subscription that could change it comes or goes. A session with several matching subscriptions
appears once, with what they amount to together, a shared subscription as its ``ShareGroup``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from broker.core.session import Session
from broker.core.sharing import ShareGroup
from mqtt.topics import TopicFilter

CACHED_TOPICS = 100_000
"""Topics whose subscribers are remembered at once."""

CACHED_ROUTES = 500_000
"""The same of subscribers in all: each takes some 120 bytes for each topic."""

CACHED_LETTERS = 256
"""Those of a longer topic are looked for each time: a client could fill gigabytes with them."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subscription:
    """One session's subscription to one filter."""

    session: Session
    topic_filter: TopicFilter
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int | None


class Route:
    """What one session gets of one topic: the sum of its matching subscriptions.

    ``qos`` is the highest of theirs [MQTT-3.3.4-2]. ``own``: the same for messages that the
    session published itself, without its No Local subscriptions [MQTT-3.8.3-3], or None.
    """

    __slots__ = ("own", "qos", "retain_as_published", "session", "subscription_ids")

    def __init__(self, session: Session, matching: list[Subscription]) -> None:
        self.session = session
        self.qos = max(item.qos for item in matching)
        self.retain_as_published = any(item.retain_as_published for item in matching)
        # [MQTT-3.3.4-3], [MQTT-3.3.4-4]
        self.subscription_ids = tuple(
            item.identifier for item in matching if item.identifier is not None
        )
        others = [item for item in matching if not item.no_local]
        self.own: Route | None = self
        if len(others) < len(matching):
            self.own = Route(session, others) if others else None


@dataclass(frozen=True, slots=True)
class Routes:
    """Everyone who gets a topic."""

    sessions: tuple[Route, ...]
    groups: tuple[ShareGroup, ...]


class _Node:
    __slots__ = ("children", "groups", "sessions")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.sessions: dict[Session, Subscription] = {}
        self.groups: dict[str, ShareGroup] = {}


class Subscriptions:
    """All subscriptions of all sessions."""

    def __init__(self) -> None:
        self._root = _Node()
        self._routes: dict[str, Routes] = {}
        self._cached_routes = 0

    def lookup(self, topic: str) -> Routes:
        """Everyone whose subscription matches ``topic``, which must be a legal topic name."""
        found = self._routes.get(topic)
        if found is None:
            found = self._walk(topic)
            if len(topic) <= CACHED_LETTERS:
                self._remember(topic, found)
        return found

    def add(self, subscription: Subscription) -> ShareGroup | None:
        """Adds or replaces [MQTT-3.8.4-3]. Returns the share group, for a shared one."""
        self._forget(subscription.topic_filter)
        node = self._root
        for level in subscription.topic_filter.levels:
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        name = subscription.topic_filter.share
        if name is None:
            node.sessions[subscription.session] = subscription
            return None
        group = node.groups.get(name)
        if group is None:
            group = node.groups[name] = ShareGroup(name, subscription.topic_filter.pattern)
        group.put(subscription)
        return group

    def remove(self, subscription: Subscription) -> ShareGroup | None:
        """Takes an existing subscription out. Returns the share group that it left."""
        self._forget(subscription.topic_filter)
        path = [self._root]
        for level in subscription.topic_filter.levels:
            path.append(path[-1].children[level])
        node = path[-1]
        group = None
        name = subscription.topic_filter.share
        if name is None:
            del node.sessions[subscription.session]
        else:
            group = node.groups[name]
            group.leave(subscription.session)
            if not group.members:
                del node.groups[name]
        for level, parent in zip(
            reversed(subscription.topic_filter.levels), reversed(path[:-1]), strict=True
        ):
            child = parent.children[level]
            if child.children or child.sessions or child.groups:
                break
            del parent.children[level]
        return group

    def _remember(self, topic: str, found: Routes) -> None:
        count = len(found.sessions)
        if count > CACHED_ROUTES:
            return
        self._cached_routes += count
        if len(self._routes) >= CACHED_TOPICS or self._cached_routes > CACHED_ROUTES:
            self._routes.clear()
            self._cached_routes = count
        self._routes[topic] = found

    def _forget(self, topic_filter: TopicFilter) -> None:
        if "+" in topic_filter.levels or "#" in topic_filter.levels:
            self._routes.clear()
            self._cached_routes = 0
            return
        known = self._routes.pop(topic_filter.pattern, None)
        if known is not None:
            self._cached_routes -= len(known.sessions)

    def _walk(self, topic: str) -> Routes:
        matching: dict[Session, list[Subscription]] = {}
        groups: list[ShareGroup] = []
        for node in self._matching_nodes(topic):
            for session, subscription in node.sessions.items():
                matching.setdefault(session, []).append(subscription)
            groups.extend(node.groups.values())
        return Routes(
            tuple(Route(session, items) for session, items in matching.items()), tuple(groups)
        )

    def _matching_nodes(self, topic: str) -> Iterator[_Node]:
        levels = topic.split("/")
        # [MQTT-4.7.2-1]: a wildcard at the first level matches no topic that starts with '$'.
        plain_only = topic.startswith("$")
        pending = [(self._root, 0)]
        while pending:
            node, depth = pending.pop()
            wildcards = depth > 0 or not plain_only
            rest = node.children.get("#")
            if rest is not None and wildcards:
                yield rest
            if depth == len(levels):
                yield node
                continue
            any_level = node.children.get("+")
            if any_level is not None and wildcards:
                pending.append((any_level, depth + 1))
            child = node.children.get(levels[depth])
            if child is not None:
                pending.append((child, depth + 1))
