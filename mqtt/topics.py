"""Topic names and topic filters: what is legal, what matches, what contains what.

MQTT 5.0 section 4.7 (3.1.1: 4.7 too) and, for shared subscriptions, 4.8.2. Everything here is
pure text work. ``TopicFilter.covers`` and ``overlaps`` answer for *sets of topics*, which is what
rights are about: matching one filter as if it were a name against another would allow ``a/#`` to
whoever may read ``a/+``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from mqtt.errors import TopicError

MAXIMUM_TOPIC_BYTES = 65_535
"""[MQTT-4.7.3-3]: the length field of an encoded string has two bytes."""


def check_topic_name(topic: str) -> str:
    """Returns ``topic`` if it is a legal topic name, else raises TopicError.

    [MQTT-4.7.3-1] not empty, [MQTT-4.7.3-2] no U+0000, [MQTT-3.3.2-2] no wildcards.
    """
    if not topic.isascii() or not 0 < len(topic) <= MAXIMUM_TOPIC_BYTES or "\0" in topic:
        _check_text(topic, "topic name")
    if "#" in topic or "+" in topic:
        raise TopicError(f"topic name {topic!r} contains a wildcard; '#' and '+' belong in filters")
    return topic


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """A topic filter, with the share name where it is a shared subscription.

    ``pattern`` is the filter that topics are matched against, without ``$share/NAME/``.
    """

    pattern: str
    share: str | None = None
    levels: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_text(self.pattern, "topic filter")
        # Thousands of devices have the same rights but for one level: the others are there once.
        levels = tuple(map(sys.intern, self.pattern.split("/")))
        for index, level in enumerate(levels):
            if "#" in level and (level != "#" or index != len(levels) - 1):
                # [MQTT-4.7.1-1]
                raise TopicError(
                    f"topic filter {self.pattern!r}: '#' must be a whole level and the last one,"
                    " as in 'devices/#'"
                )
            if "+" in level and level != "+":
                # [MQTT-4.7.1-2]
                raise TopicError(
                    f"topic filter {self.pattern!r}: '+' must be a whole level, as in"
                    " 'devices/+/telemetry'"
                )
        if self.share is not None and (not self.share or set(self.share) & set("/+#\0")):
            # [MQTT-4.8.2-1], [MQTT-4.8.2-2]
            raise TopicError(
                f"share name {self.share!r}: must be one or more characters without '/', '+', '#'"
            )
        object.__setattr__(self, "levels", levels)

    @classmethod
    def parse(cls, text: str) -> TopicFilter:
        """Reads a filter as it stands in SUBSCRIBE, ``$share/NAME/FILTER`` included."""
        if not text.startswith("$share/") and text != "$share":
            return cls(text)
        parts = text.split("/", 2)
        if len(parts) < 3 or not parts[2]:
            raise TopicError(
                f"shared subscription {text!r}: must be '$share/NAME/FILTER' with a name and a"
                " filter"
            )
        _check_text(text, "topic filter")
        return cls(parts[2], share=parts[1])

    def with_level(self, placeholder: str, name: str) -> TopicFilter:
        """This filter with ``name`` for every level that is ``placeholder``. Raises TopicError.

        A tenth of the cost of parsing it: rights of thousands of devices are made so.
        """
        if not name or not set(name).isdisjoint("/+#\0"):
            raise TopicError(f"{name!r} is no level of a topic filter")
        levels = tuple([name if level == placeholder else level for level in self.levels])
        pattern = "/".join(levels)
        if not pattern.isascii() or len(pattern) > MAXIMUM_TOPIC_BYTES:
            return TopicFilter(pattern, share=self.share)
        made = object.__new__(TopicFilter)
        object.__setattr__(made, "pattern", pattern)
        object.__setattr__(made, "share", self.share)
        object.__setattr__(made, "levels", levels)
        return made

    def __str__(self) -> str:
        return self.pattern if self.share is None else f"$share/{self.share}/{self.pattern}"

    def matches(self, topic: str) -> bool:
        """Whether the legal topic name ``topic`` matches this filter.

        [MQTT-4.7.2-1]: a filter that starts with a wildcard matches no topic that starts with
        ``$``. [MQTT-4.7.1-2] note: ``sport/#`` matches ``sport`` too.
        """
        names = topic.split("/")
        levels = self.levels
        if topic.startswith("$") and levels[0] in ("+", "#"):
            return False
        for index, level in enumerate(levels):
            if level == "#":
                return True
            if index >= len(names) or level not in ("+", names[index]):
                return False
        return len(levels) == len(names)

    def covers(self, other: TopicFilter | str) -> bool:
        """Whether every topic that ``other`` can match is matched by this filter (containment).

        A string is parsed as a filter. Share names play no part: rights are about topics.
        """
        ours = self.levels
        theirs = _as_filter(other).levels
        if ours[0] in ("+", "#") and theirs[0].startswith("$"):
            return False
        for index, level in enumerate(ours):
            if level == "#":
                return True
            if index >= len(theirs):
                return False
            their = theirs[index]
            if their == "#" or (level != "+" and level != their):
                return False
        return len(ours) == len(theirs)

    def overlaps(self, other: TopicFilter | str) -> bool:
        """Whether some topic is matched by this filter and by ``other``."""
        theirs_filter = _as_filter(other)
        ours, theirs = self.levels, theirs_filter.levels
        for first, second in ((ours[0], theirs[0]), (theirs[0], ours[0])):
            if first in ("+", "#") and second.startswith("$"):
                return False
        for index in range(max(len(ours), len(theirs)) + 1):
            mine = ours[index] if index < len(ours) else None
            yours = theirs[index] if index < len(theirs) else None
            if mine == "#" or yours == "#":
                return True
            if mine is None or yours is None:
                return mine is yours
            if mine != yours and "+" not in (mine, yours):
                return False
        return True


def _as_filter(value: TopicFilter | str) -> TopicFilter:
    return value if isinstance(value, TopicFilter) else TopicFilter.parse(value)


def _check_text(text: str, what: str) -> None:
    if not text:
        raise TopicError(f"{what} is empty; it must have at least one character")
    if "\0" in text:
        raise TopicError(f"{what} {text!r} contains U+0000")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise TopicError(f"{what} {text!r} is not valid Unicode: {error.reason}") from error
    if size > MAXIMUM_TOPIC_BYTES:
        raise TopicError(f"{what} has {size} bytes; MQTT allows {MAXIMUM_TOPIC_BYTES}")
