"""Shared subscriptions: which member of a group gets a message [MQTT-4.8.2-5].

The member is the one with the least on its way to it, among a few that are connected and have
room: those whose turn it is. Looking at a few finds nearly as good a member as looking at all
(the power of two choices), and costs the same however many there are. What no member has room for
waits in the group, bound to none of them, so nothing is stranded with a member that never comes
back; and while somebody is connected, nothing is given to a member that is away.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from broker.core.limits import QueueLimits
from broker.core.message import Message

if TYPE_CHECKING:
    from broker.core.session import Session
    from broker.core.subscriptions import Subscription

_LOOKED_AT = 8
"""Members with room of which the one with the least to do gets a message."""


class ShareGroup:
    """The sessions that share a filter under one name, and what waits for any of them.

    ``members``: all, by their sessions; ``present``: those that are connected. ``bound``: what
    may wait, the most that any member's session may hold. ``queue``: QoS 1 and 2; ``queue_0``: QoS
    0, given up before these; ``queued_bytes``: of both. ``rows`` goes with ``queue``: the row of
    each message in the store, or 0.
    """

    __slots__ = (
        "_turn",
        "bound",
        "members",
        "name",
        "pattern",
        "present",
        "queue",
        "queue_0",
        "queued_bytes",
        "rows",
    )

    def __init__(self, name: str, pattern: str) -> None:
        self.name = name
        self.pattern = pattern
        self.members: dict[Session, Subscription] = {}
        self.present: list[Subscription] = []
        self.bound = QueueLimits(messages=1, bytes=1)
        self.queue: deque[Message] = deque()
        self.queue_0: deque[Message] = deque()
        self.rows: deque[int] = deque()
        self.queued_bytes = 0
        self._turn = 0

    @property
    def filter(self) -> str:
        """The filter as its members subscribed to it, ``$share/NAME/PATTERN``."""
        return f"$share/{self.name}/{self.pattern}"

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self.queue) + len(self.queue_0)

    def is_full_for(self, message: Message) -> bool:
        """Whether one more would be too much."""
        bound = self.bound
        return self.queued >= bound.messages or self.queued_bytes + message.size > bound.bytes

    def next_with_room(self, write_buffer_bytes: int, *, at_qos_0: bool) -> Subscription | None:
        """The member that is to get a message now, None where nobody has room.

        Among equals they take turns.
        """
        present = self.present
        count = len(present)
        start = self._turn
        found = None
        least = looked_at = 0
        for offset in range(count):
            member = present[(start + offset) % count]
            session = member.session
            if session.queue or session.resend:
                continue
            if not (session.may_send_0 if at_qos_0 else session.has_room)(write_buffer_bytes):
                continue
            load = session.load()
            if found is None or load < least:
                found, least = member, load
                self._turn = start + offset + 1
            looked_at += 1
            if not load or looked_at == _LOOKED_AT:
                break
        return found

    def put(self, subscription: Subscription) -> None:
        """Adds a member, or replaces its earlier subscription."""
        session = subscription.session
        self.members[session] = subscription
        if session.connection is not None:
            self.came(session)
        self.reckon_bound()

    def leave(self, session: Session) -> None:
        """Takes a member out."""
        self.went(session)
        del self.members[session]
        self.reckon_bound()

    def came(self, session: Session) -> None:
        """A member is connected."""
        self.went(session)
        self.present.append(self.members[session])

    def went(self, session: Session) -> None:
        """A member is not connected any more."""
        self.present = [member for member in self.present if member.session is not session]

    def wait(self, message: Message, row: int) -> None:
        """Appends to what waits for a member with room; ``row`` is 0 at QoS 0."""
        if message.qos:
            self.queue.append(message)
            self.rows.append(row)
        else:
            self.queue_0.append(message)
        self.queued_bytes += message.size

    def take(self) -> tuple[Message, int]:
        """The message of QoS 1 or 2 that has waited longest, and its row."""
        message = self.queue.popleft()
        self.queued_bytes -= message.size
        return message, self.rows.popleft()

    def take_0(self) -> Message:
        """The message of QoS 0 that has waited longest."""
        message = self.queue_0.popleft()
        self.queued_bytes -= message.size
        return message

    def reckon_bound(self) -> None:
        """Members have come or gone, or may hold more or less by now."""
        bounds = [session.limits for session in self.members]
        if bounds:
            self.bound = QueueLimits(
                messages=max(bound.messages for bound in bounds),
                bytes=max(bound.bytes for bound in bounds),
            )
