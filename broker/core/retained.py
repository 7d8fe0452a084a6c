"""Retained messages: the last one of each topic, found again by filter [MQTT-3.3.1-5]."""

from __future__ import annotations

from collections.abc import Iterator

from broker.core.budget import Budget
from broker.core.journal import Journal
from broker.core.memory import retained_bytes
from broker.core.message import Message
from broker.core.timers import Timer, Timers
from mqtt.topics import TopicFilter


class _Level:
    __slots__ = ("children", "counts", "message", "serial", "timer")

    def __init__(self) -> None:
        self.children: dict[str, _Level] = {}
        self.message: Message | None = None
        self.serial = 0
        self.counts = False
        self.timer: Timer | None = None


class Retained:
    """A tree of topic levels, bounded in messages and bytes. ``serial``: of the newest message.

    What expires goes then, and makes room, whether somebody subscribes to it or not.
    """

    def __init__(
        self,
        *,
        maximum_messages: int,
        maximum_bytes: int,
        journal: Journal,
        budget: Budget,
        timers: Timers,
    ) -> None:
        self._root = _Level()
        self.maximum_messages = maximum_messages
        self.maximum_bytes = maximum_bytes
        self._journal = journal
        self._budget = budget
        self._timers = timers
        self.messages = 0
        self.bytes = 0
        self.serial = 0

    def has_room_for(self, message: Message) -> bool:
        """Whether ``keep`` would stay within the bounds."""
        level = self._find(message.topic)
        old = None if level is None else level.message
        if self._budget.memory_is_full_without_held_back and (
            old is None or message.size > old.size
        ):
            return False
        messages = self.messages + (old is None)
        size = self.bytes + message.size - (0 if old is None else old.size)
        return messages <= self.maximum_messages and size <= self.maximum_bytes

    def keep(self, message: Message, *, stored: bool = True) -> None:
        """Replaces the topic's retained message; an empty payload clears it [MQTT-3.3.1-6].

        ``stored``: whether it counts and is to outlive the process; the same for all of a topic's.
        """
        if not message.payload:
            self.clear(message.topic)
            return
        before = self._put(message.topic, message, counts=stored)
        if stored:
            self._count(message, before)
            self._journal.retained(message.topic, message, before)

    def restore(self, topic: str, message: Message) -> None:
        """A topic's retained message, of an earlier process."""
        self._count(message, self._put(topic, message, counts=True))

    def _put(self, topic: str, message: Message, *, counts: bool) -> Message | None:
        level = self._root
        for name in topic.split("/"):
            level = level.children.setdefault(name, _Level())
        before, level.message = level.message, message
        self.serial += 1
        level.serial = self.serial
        level.counts = counts
        if level.timer is not None:
            level.timer.cancel()
            level.timer = None
        if message.expires_at is not None:
            level.timer = self._timers.at(message.expires_at, lambda now: self.clear(topic))
        return before

    def _count(self, message: Message, before: Message | None) -> None:
        self.messages += before is None
        added = message.size - (0 if before is None else before.size)
        self.bytes += added
        cost = retained_bytes(message)
        self._budget.charge(cost - (0 if before is None else retained_bytes(before)))

    def clear(self, topic: str) -> None:
        """Forgets the topic's retained message, if there is one."""
        path = [self._root]
        names = topic.split("/")
        for name in names:
            child = path[-1].children.get(name)
            if child is None:
                return
            path.append(child)
        leaf, message = path[-1], path[-1].message
        if message is None:
            return
        if leaf.timer is not None:
            leaf.timer.cancel()
            leaf.timer = None
        if leaf.counts:
            self.messages -= 1
            self.bytes -= message.size
            self._budget.charge(-retained_bytes(message))
            self._journal.retained(topic, None, message)
        leaf.message = None
        for index in range(len(names) - 1, -1, -1):
            level = path[index + 1]
            if level.children or level.message is not None:
                break
            del path[index].children[names[index]]

    def get(self, topic: str) -> Message | None:
        """The topic's retained message."""
        level = self._find(topic)
        return None if level is None else level.message

    def walk(self, topic_filter: TopicFilter) -> Iterator[Message]:
        """Those that the filter matches, expired ones too; others may come and go meanwhile."""
        found = self.steps(topic_filter, self.serial)
        return (message for message in found if message is not None)

    def steps(self, topic_filter: TopicFilter, before: int) -> Iterator[Message | None]:
        """The same level by level, with None for each that has none; of those up to a ``serial``.

        So whoever walks can stop in time, however little the filter matches.
        """
        levels = topic_filter.levels
        stack = [(iter([self._root]), 0)]
        while stack:
            nodes, depth = stack[-1]
            node = next(nodes, None)
            if node is None:
                stack.pop()
                continue
            is_whole = depth == len(levels)
            if not is_whole:
                wanted = levels[depth]
                if wanted == "#":
                    is_whole = True
                    stack.append((iter(self._visible(node, depth)), depth))
                elif wanted == "+":
                    stack.append((iter(self._visible(node, depth)), depth + 1))
                elif wanted in node.children:
                    stack.append((iter([node.children[wanted]]), depth + 1))
            yield node.message if is_whole and node.serial <= before else None

    def _find(self, topic: str) -> _Level | None:
        level: _Level | None = self._root
        for name in topic.split("/"):
            if level is None:
                return None
            level = level.children.get(name)
        return level

    def _visible(self, node: _Level, depth: int) -> list[_Level]:
        # [MQTT-4.7.2-1]: a wildcard at the first level matches no topic that starts with '$'.
        if node is not self._root or depth:
            return list(node.children.values())
        return [child for name, child in node.children.items() if not name.startswith("$")]
