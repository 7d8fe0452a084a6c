"""What the store must write before this turn's bytes may leave.

The core calls the journal as it changes what outlives the process; the shell takes the ``Changes``
of a turn, has them committed, and only then writes. What comes and goes within one turn is in
none of them. A message has one row however many sessions it goes to, and is gone with the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Protocol

from mqtt5 import ConnectPacket, Will

from broker.core.facts import (
    Changes,
    Fact,
    ReceivedIdentifier,
    ReleasedIdentifier,
    SessionEnded,
    SessionKept,
    Stored,
    StoredDelivery,
    StoredWaiting,
    Subscribed,
    Unsubscribed,
    WillGone,
    WillKept,
)
from broker.core.message import Message
from broker.core.session import Outgoing, Session


class Journal:
    """Gathers changes. With ``durable`` False nothing is, and no session is ever ``stored``."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self.changes = Changes()
        # One sequence for each table: what is settled in order is then a run of rows there.
        self._messages = count(1)
        self._deliveries = count(1)
        self._waiting = count(1)

    def continue_after(self, stored: Stored) -> None:
        """New rows are numbered from the one behind the highest that the store knows."""
        messages, deliveries, waiting = stored.highest_rows
        self._messages = _after(stored.messages, messages)
        self._deliveries = _after(stored.deliveries, deliveries)
        self._waiting = _after(stored.waiting, waiting)

    def take(self) -> Changes:
        """The changes since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    def note(self, fact: Fact) -> None:
        """One change of what is no message."""
        self.changes.facts.append(fact)

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

    def will_kept(self, client_id: str, will: Will, publish_at: float | None) -> None:
        """The client has a will; see ``WillKept``."""
        if self.durable:
            self.note(WillKept(client_id, ConnectPacket("w", will=will).write(), publish_at))

    def will_gone(self, client_id: str) -> None:
        """The client's will was published, or never will be."""
        if self.durable:
            self.note(WillGone(client_id))

    def queued(self, session: Session, outgoing: Outgoing) -> None:
        """The message waits for the session's client."""
        if session.stored:
            self._add(session, outgoing, 0)

    def sent(self, session: Session, outgoing: Outgoing, packet_id: int) -> None:
        """The message, at QoS 1 or 2, is sent under this identifier."""
        if not session.stored:
            return
        row = outgoing.row
        if not row:
            self._add(session, outgoing, packet_id)
            return
        new = self.changes.deliveries.get(row)
        if new is None:
            self.changes.packet_ids[row] = packet_id
        else:
            new.packet_id = packet_id

    def done(self, outgoing: Outgoing) -> None:
        """The message has arrived, or is given up."""
        row = outgoing.row
        if not row:
            return
        outgoing.row = 0
        if self.changes.deliveries.pop(row, None) is None:
            self.changes.packet_ids.pop(row, None)
            self.changes.deliveries_gone.append(row)
        self._let_go(outgoing.message)

    def waits(self, share_filter: str, message: Message) -> int:
        """The message waits in a share group. Returns its row, for ``taken``."""
        row = next(self._waiting)
        self.changes.waiting[row] = StoredWaiting(row, share_filter, self._hold(message))
        return row

    def taken(self, row: int, message: Message) -> None:
        """The message waits no longer; ``row`` is 0 where it was not stored."""
        if not row:
            return
        if self.changes.waiting.pop(row, None) is None:
            self.changes.waiting_gone.append(row)
        self._let_go(message)

    def retained(self, topic: str, message: Message | None, before: Message | None) -> None:
        """The topic's retained message was ``before`` and is ``message``."""
        if self.durable:
            self.changes.retained[topic] = None if message is None else self._hold(message)
            if before is not None:
                self._let_go(before)

    def _add(self, session: Session, outgoing: Outgoing, packet_id: int) -> None:
        row = outgoing.row = next(self._deliveries)
        group = outgoing.group
        self.changes.deliveries[row] = StoredDelivery(
            row=row,
            client_id=session.client_id,
            message=self._hold(outgoing.message),
            qos=outgoing.qos,
            retain=outgoing.retain,
            subscription_ids=outgoing.subscription_ids,
            share_filter=None if group is None else group.filter,
            packet_id=packet_id,
        )

    def _hold(self, message: Message) -> int:
        if not message.row:
            message.row = next(self._messages)
            self.changes.messages[message.row] = message
        message.held += 1
        return message.row

    def _let_go(self, message: Message) -> None:
        message.held -= 1
        if message.held:
            return
        row, message.row = message.row, 0
        if self.changes.messages.pop(row, None) is None:
            self.changes.messages_gone.append(row)


class _Row(Protocol):
    @property
    def row(self) -> int: ...


def _after(stored: Sequence[_Row], highest: int) -> count[int]:
    return count(max(highest, stored[-1].row if stored else 0) + 1)
