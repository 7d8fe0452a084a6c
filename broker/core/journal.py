"""What the store must write before this turn's bytes may leave.

The core calls the journal as it changes what outlives the process; the shell takes the ``Changes``
of a turn, has them committed, and only then writes what speaks of them. What comes and goes within
one turn is in none of them, and costs next to nothing: a message that its subscribers acknowledge
while the commit before is under way is never written. A message has one row however many sessions
it goes to, and is gone with the last.
"""

from __future__ import annotations

from itertools import count

from broker.core.facts import (
    Changes,
    Fact,
    ReceivedIdentifier,
    ReleasedIdentifier,
    SessionEnded,
    SessionKept,
    Stored,
    Subscribed,
    Unsubscribed,
    WaitingRow,
    WillGone,
    WillKept,
)
from broker.core.left_will import LeftWill
from broker.core.message import Message
from broker.core.session import Outgoing, Session

_NEW = -1
"""Row of what this turn brought: it gets a number if it is still there at the turn's end."""


class Journal:
    """Gathers changes. With ``durable`` False nothing is, and no session is ever ``stored``."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self._changes = Changes()
        self._new: list[Outgoing] = []
        self._new_messages: dict[int, Message] = {}
        self._new_waiting: dict[int, WaitingRow] = {}
        # One sequence for each table: what is settled in order is then a run of rows there.
        self._messages = count(1)
        self._deliveries = count(1)
        self._waiting = count(1)

    def continue_after(self, stored: Stored) -> None:
        """New rows are numbered from the one behind the highest that the store knows."""
        messages, deliveries, waiting = stored.highest_rows
        self._messages = count(messages + 1)
        self._deliveries = count(deliveries + 1)
        self._waiting = count(waiting + 1)

    def __bool__(self) -> bool:
        """Whether ``take`` may have something to give."""
        return bool(self._new or self._new_messages or self._new_waiting or self._changes)

    def take(self) -> Changes:
        """The changes since the last call."""
        changes, self._changes = self._changes, Changes()
        if self._new:
            new, self._new = self._new, []
            self._number(new, changes)
        if self._new_messages:
            changes.messages = [
                (row, message.stored(), message.topic, message.publisher, message.expires_at)
                for row, message in self._new_messages.items()
            ]
            self._new_messages = {}
        if self._new_waiting:
            changes.waiting = list(self._new_waiting.values())
            self._new_waiting = {}
        return changes

    def note(self, fact: Fact) -> None:
        """One change of what is no message."""
        self._changes.facts.append(fact)

    def session_kept(self, session: Session, ended_at: float | None) -> None:
        """The session is connected (``ended_at`` None) or has lost its connection."""
        if not session.stored:
            if not self.durable or session.expiry_seconds == 0:
                return
            session.stored = True
        self.note(
            SessionKept(
                client_id=session.client_id,
                owner=session.owner,
                device=session.device,
                expiry_seconds=session.expiry_seconds,
                ended_at=ended_at,
            )
        )

    def session_ended(self, session: Session) -> None:
        """The session is gone; its messages have been told of by ``done``."""
        if session.stored:
            session.stored = False
            self.note(SessionEnded(session.client_id))

    def subscribed(self, session: Session, topic_filter: str) -> None:
        """The session has a new subscription to the filter."""
        if session.stored:
            subscription = session.subscriptions[topic_filter]
            self.note(
                Subscribed(
                    client_id=session.client_id,
                    topic_filter=topic_filter,
                    qos=subscription.qos,
                    no_local=subscription.no_local,
                    retain_as_published=subscription.retain_as_published,
                    identifier=subscription.identifier,
                )
            )

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        """The session has no subscription to the filter any more."""
        if session.stored:
            self.note(Unsubscribed(session.client_id, topic_filter))

    def received(self, session: Session, packet_id: int, *, waits: bool) -> None:
        """QoS 2 from the client: its identifier awaits PUBREL, or no longer."""
        if session.stored:
            self.note(ReceivedIdentifier(session.client_id, packet_id, waits))

    def released(self, session: Session, packet_id: int, *, waits: bool) -> None:
        """QoS 2 to the client: the identifier awaits PUBCOMP, or no longer."""
        if session.stored:
            self.note(ReleasedIdentifier(session.client_id, packet_id, waits))

    def will_kept(
        self, client_id: str, owner: str, will: LeftWill, publish_at: float | None
    ) -> None:
        """The client has a will; see ``WillKept``."""
        if self.durable:
            self.note(WillKept(client_id, will.stored(owner), publish_at))

    def will_gone(self, client_id: str) -> None:
        """The client's will was published, or never will be."""
        if self.durable:
            self.note(WillGone(client_id))

    def queued(self, session: Session, outgoing: Outgoing) -> None:
        """The message waits for the session's client."""
        if session.stored:
            self._add(session, outgoing)

    def sent(self, session: Session, outgoing: Outgoing, packet_id: int) -> None:
        """The message, at QoS 1 or 2, is sent to a stored session under this identifier."""
        outgoing.packet_id = packet_id
        row = outgoing.row
        if not row:
            self._add(session, outgoing)
        elif row > 0:
            self._changes.packet_ids[row] = packet_id

    def done(self, outgoing: Outgoing) -> None:
        """The message has arrived, or is given up."""
        row = outgoing.row
        if not row:
            return
        outgoing.row = 0
        if row > 0:
            self._changes.packet_ids.pop(row, None)
            self._changes.deliveries_gone.append(row)
        self._let_go(outgoing.message)

    def waits(self, share_filter: str, message: Message) -> int:
        """The message waits in a share group. Returns its row, for ``taken``."""
        row = next(self._waiting)
        self._new_waiting[row] = row, share_filter, self._hold(message)
        return row

    def taken(self, row: int, message: Message) -> None:
        """The message waits no longer; ``row`` is 0 where it was not stored."""
        if not row:
            return
        if self._new_waiting.pop(row, None) is None:
            self._changes.waiting_gone.append(row)
        self._let_go(message)

    def retained(self, topic: str, message: Message | None, before: Message | None) -> None:
        """The topic's retained message was ``before`` and is ``message``."""
        if self.durable:
            self._changes.retained[topic] = None if message is None else self._hold(message)
            if before is not None:
                self._let_go(before)

    def _add(self, session: Session, outgoing: Outgoing) -> None:
        outgoing.row = _NEW
        outgoing.client_id = session.client_id
        outgoing.message.held += 1
        self._new.append(outgoing)

    def _number(self, new: list[Outgoing], changes: Changes) -> None:
        for outgoing in new:
            if outgoing.row != _NEW:
                # It is gone by now.
                continue
            row = outgoing.row = next(self._deliveries)
            ids, group = outgoing.subscription_ids, outgoing.group
            changes.deliveries.append(
                (
                    row,
                    outgoing.client_id,
                    self._row_of(outgoing.message),
                    outgoing.qos,
                    outgoing.retain,
                    " ".join(map(str, ids)) if ids else "",
                    None if group is None else group.filter,
                    outgoing.packet_id,
                )
            )

    def _hold(self, message: Message) -> int:
        message.held += 1
        return self._row_of(message)

    def _row_of(self, message: Message) -> int:
        row = message.row
        if not row:
            row = message.row = next(self._messages)
            self._new_messages[row] = message
        return row

    def _let_go(self, message: Message) -> None:
        message.held -= 1
        if message.held or not message.row:
            return
        row, message.row = message.row, 0
        if self._new_messages.pop(row, None) is None:
            self._changes.messages_gone.append(row)
