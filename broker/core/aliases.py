"""Topic aliases towards a client: a number instead of the topic's name (MQTT 5.0, 3.3.2.3.4).

A client that gives a Topic Alias Maximum gets them for the topics that it gets most of. The first
ones are given as they come; later a topic must outlast one of these. A hand goes round over the
aliases: every message whose topic has none takes one use from the alias under the hand, and gets
that alias once it has no use left. So neither thousands of topics in turn nor a rare one between
them take an alias away from where it saves something, and no message costs a search.
"""

from __future__ import annotations

from broker.core.counters import Counters
from mqtt.properties import TOPIC_ALIAS, split, variable_byte_integer

_USES = 15
"""Of an alias that are remembered: what was in use before can be outlasted by as much."""

_FIRST_USES = 4
"""Of a new alias: topics that come in turn set one with every fifth message at most."""

_ALIAS_BYTES = 3
"""Identifier and value of the property; shorter topics are sent by name."""

_GROWTH_BYTES = _ALIAS_BYTES + 2
"""Of a message that sets an alias: its remaining length and that of its properties may each take a
byte more."""


class SentAliases:
    """The aliases that one connection's client was told of. ``maximum``: how many, at least 1."""

    __slots__ = ("_alias_of", "_counters", "_hand", "_maximum", "_topics", "_uses")

    def __init__(self, maximum: int, counters: Counters) -> None:
        self._maximum = maximum
        self._counters = counters
        self._alias_of: dict[str, int] = {}
        self._topics: list[str] = []
        self._uses: list[int] = []
        self._hand = 0

    def use(self, topic: str) -> int:
        """The alias that the client knows the topic by, or 0."""
        alias = self._alias_of.get(topic, 0)
        if alias and self._uses[alias - 1] < _USES:
            self._uses[alias - 1] += 1
        return alias

    def claim(self, topic: str) -> int:
        """The alias that a topic without one gets with this message, or 0."""
        if len(topic) <= _ALIAS_BYTES:
            return 0
        topics = self._topics
        if len(topics) < self._maximum:
            topics.append(topic)
            self._uses.append(_FIRST_USES)
            alias = len(topics)
        else:
            place = self._hand
            self._hand = (place + 1) % self._maximum
            if self._uses[place]:
                self._uses[place] -= 1
                return 0
            del self._alias_of[topics[place]]
            topics[place] = topic
            self._uses[place] = _FIRST_USES
            alias = place + 1
        self._alias_of[topic] = alias
        return alias

    def frame(
        self,
        topic: str,
        head: bytes,
        properties: bytes,
        *,
        following_bytes: int,
        largest_bytes: int | None,
    ) -> tuple[bytes, bytes]:
        """Returns a PUBLISH's ``head`` and ``properties`` as they go to this client.

        ``following_bytes``: of packet identifier and payload; ``largest_bytes``: of the packet.
        Unchanged where the topic has no alias.
        """
        alias = self.use(topic)
        name = b""
        if not alias:
            size = len(head) + len(properties) + following_bytes + _GROWTH_BYTES
            if largest_bytes is None or size <= largest_bytes:
                alias = self.claim(topic)
            if not alias:
                return head, properties
            # The client learns the alias by the message that bears both (3.3.2.3.4).
            name = topic.encode()
        else:
            self._counters.messages_sent_by_alias += 1
        properties = _with_alias(properties, alias)
        length = 2 + len(name) + len(properties) + following_bytes
        # [MQTT-3.3.2-8], [MQTT-3.3.2-11]: 1 to the client's Topic Alias Maximum.
        return (
            head[:1] + variable_byte_integer(length) + len(name).to_bytes(2, "big") + name,
            properties,
        )


def _with_alias(properties: bytes, alias: int) -> bytes:
    rest = properties[split(properties, 0)[0] :]
    length = variable_byte_integer(len(rest) + _ALIAS_BYTES)
    return length + bytes((TOPIC_ALIAS,)) + alias.to_bytes(2, "big") + rest
