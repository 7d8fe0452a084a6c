"""What is given up where a queue is full, so that a newer message may wait in its place.

Expired messages go first, and are not counted as lost to the bound; then QoS 0, the oldest first;
then, where ``queue_full`` says so, the oldest of the others. Nothing goes for a message that would
not fit even so, and at QoS 0 nothing goes for any.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from broker.core.budget import Budget
from broker.core.counters import Counters
from broker.core.journal import Journal
from broker.core.limits import Limits, QueueFull
from broker.core.losses import Losses
from broker.core.message import Message
from broker.core.session import Outgoing, Session
from broker.core.sharing import ShareGroup


class MakingRoom:
    """Takes messages out of the queues of sessions and share groups."""

    def __init__(
        self,
        *,
        limits: Limits,
        counters: Counters,
        journal: Journal,
        budget: Budget,
        losses: Losses,
    ) -> None:
        self.limits = limits
        self._counters = counters
        self._journal = journal
        self._budget = budget
        self._losses = losses

    def in_session(self, session: Session, newest: Outgoing, now: float) -> bool:
        """Whether the newest may wait by now; where not, that it was dropped is counted."""
        if not _is_full(session, newest):
            return True
        while session.queue and session.queue[0].message.expired(now):
            self._journal.done(session.take_first())
            self._counters.dropped_expired += 1
        limits = session.limits
        if newest.qos and newest.message.size <= limits.bytes:
            others = session.queue if self._drops_oldest else ()
            sizes = chain(
                (outgoing.message.size for outgoing in session.queue_0),
                (outgoing.message.size for outgoing in others if outgoing.qos),
            )
            messages = session.queued + 1 - limits.messages
            size = session.held_bytes + newest.message.size - limits.bytes
            for _ in range(_how_many(sizes, messages, size)):
                if session.queue_0:
                    session.give_up_0()
                else:
                    self._journal.done(session.take_first())
                self._dropped(session, now)
        if _is_full(session, newest):
            self._dropped(session, now)
            return False
        return True

    def in_group(self, group: ShareGroup, newest: Message, now: float) -> bool:
        """As ``in_session``, where no member has room."""
        bound = group.bound
        if not group.is_full_for(newest):
            return True
        while group.queue and group.queue[0].expired(now):
            self.drop_first(group)
            self._counters.dropped_expired += 1
        # Any member stands for the group in the log.
        member = next(iter(group.members))
        if newest.qos and newest.size <= bound.bytes:
            others = group.queue if self._drops_oldest else ()
            sizes = (message.size for message in chain(group.queue_0, others))
            messages = group.queued + 1 - bound.messages
            size = group.queued_bytes + newest.size - bound.bytes
            for _ in range(_how_many(sizes, messages, size)):
                if group.queue_0:
                    self.take_0(group)
                else:
                    self.drop_first(group)
                self._dropped(member, now)
        if group.is_full_for(newest):
            self._dropped(member, now)
            return False
        return True

    def take(self, group: ShareGroup) -> tuple[Message, int]:
        """The group's first message of QoS 1 or 2, and its row, for ``Journal.taken``."""
        message, row = group.take()
        self._budget.let_go(message)
        return message, row

    def take_0(self, group: ShareGroup) -> Message:
        """The group's first message of QoS 0."""
        message = group.take_0()
        self._budget.let_go(message)
        return message

    def drop_first(self, group: ShareGroup) -> None:
        """The group's first message of QoS 1 or 2 waits no longer."""
        message, row = self.take(group)
        self._journal.taken(row, message)

    @property
    def _drops_oldest(self) -> bool:
        return self.limits.queue_full is QueueFull.DROP_OLDEST

    def _dropped(self, session: Session, now: float) -> None:
        self._counters.dropped_queue_full += 1
        limits = session.limits
        self._losses.note(
            session, f"dropped, queue full ({limits.messages} messages, {limits.bytes} bytes)", now
        )


def _is_full(session: Session, newest: Outgoing) -> bool:
    limits = session.limits
    return (
        session.queued >= limits.messages or session.held_bytes + newest.message.size > limits.bytes
    )


def _how_many(sizes: Iterable[int], messages: int, size: int) -> int:
    """How many of the first must go to be so many messages and bytes less; 0 where all are not
    enough.
    """
    count = 0
    for each in sizes:
        if messages <= 0 and size <= 0:
            return count
        count += 1
        messages -= 1
        size -= each
    return count if messages <= 0 and size <= 0 else 0
