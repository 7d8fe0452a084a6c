"""From what a store holds to the state that the last process had, as its clients left it.

A connection that was open then has been lost by now, without a DISCONNECT: its session's expiry and
its will's delay begin, and its will is published [MQTT-3.1.2-8].

The store does not know which rights there are. So before anything is published each subscription is
judged by its owner's rights as they are now, and sleeps where it is not allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from broker.auth.principal import Principal
from broker.core.budget import Budget
from broker.core.facts import DeliveryRow, MessageRow, Stored, Subscribed
from broker.core.journal import Journal
from broker.core.kept_message import KeptMessage
from broker.core.left_will import read
from broker.core.memory import RECEIVED_BYTES
from broker.core.message import Message
from broker.core.retained import Retained
from broker.core.session import Outgoing, Session
from broker.core.sessions import Sessions
from broker.core.sharing import ShareGroup
from broker.core.subscribing import Subscribing
from broker.core.subscriptions import Subscription
from broker.core.wills import Wills, may_leave
from mqtt.topics import TopicFilter


class Restoring:
    """Fills an empty core."""

    def __init__(
        self,
        *,
        journal: Journal,
        sessions: Sessions,
        subscribing: Subscribing,
        retained: Retained,
        wills: Wills,
        budget: Budget,
    ) -> None:
        self._journal = journal
        self._sessions = sessions
        self._subscribing = subscribing
        self._retained = retained
        self._wills = wills
        self._budget = budget
        self._messages: dict[int, Message] = {}
        self._groups: dict[str, ShareGroup] = {}

    def restore(
        self,
        stored: Stored,
        now: float,
        removed: Collection[str],
        principals: Mapping[str, Principal],
    ) -> int:
        """Builds sessions, queues, retained messages and wills; ends what has expired.

        ``removed``: owners whose wills are not published. ``principals``: by name, owners of wills
        and of subscriptions, as they are now. Returns how many messages there were.
        """
        self._journal.continue_after(stored)
        self._take_messages(stored.messages, now)
        messages = len(self._messages)
        sessions = {kept.client_id: self._sessions.restore(kept, now) for kept in stored.sessions}
        for subscribed in stored.subscriptions:
            self._subscribe(sessions[subscribed.client_id], subscribed)
        self._deliver(sessions, stored.deliveries)
        for received in stored.received:
            sessions[received.client_id].received.add(received.packet_id)
            self._budget.charge(RECEIVED_BYTES)
        for released in stored.released:
            sessions[released.client_id].released[released.packet_id] = None
        for row, share_filter, message_row in stored.waiting:
            message = self._held(message_row)
            group = self._groups.get(share_filter)
            if group is None:
                # An earlier program kept these for members that did not last.
                self._journal.taken(row, message)
                continue
            self._budget.hold(message)
            group.wait(message, row)
        for topic, row in stored.retained:
            self._retained.restore(topic, self._held(row))
        for client_id in dict.fromkeys(each.client_id for each in stored.subscriptions):
            principal = principals.get(sessions[client_id].owner)
            if principal is not None:
                self._subscribing.suit(sessions[client_id], principal, now)
        for kept in stored.sessions:
            if kept.ended_at is None:
                self._sessions.detach(sessions[kept.client_id], now)
        for will in stored.wills:
            owner, left = read(will.connect)
            if owner in removed:
                self._wills.discarded(will.client_id)
                continue
            if not may_leave(principals.get(owner), left):
                self._wills.forbidden(will.client_id)
                continue
            self._wills.restore(will.client_id, owner, left, will.publish_at, now)
            if self._sessions.get(will.client_id) is None:
                self._wills.session_ended(will.client_id, now)
        self._messages.clear()
        self._groups.clear()
        return messages

    def _held(self, row: int) -> Message:
        message = self._messages[row]
        message.held += 1
        return message

    def _subscribe(self, session: Session, subscribed: Subscribed) -> None:
        group = self._subscribing.add(
            Subscription(
                session=session,
                topic_filter=TopicFilter.parse(subscribed.topic_filter),
                qos=subscribed.qos,
                no_local=subscribed.no_local,
                retain_as_published=subscribed.retain_as_published,
                identifier=subscribed.identifier,
            )
        )
        if group is not None:
            self._groups[subscribed.topic_filter] = group

    def _take_messages(self, rows: Iterable[MessageRow], now: float) -> None:
        messages = self._messages
        # Many have the same topic, and the same publisher.
        once: dict[str, str] = {}
        one = once.setdefault
        for row, raw, topic, publisher, expires_at in rows:
            messages[row] = KeptMessage(
                row, raw, one(topic, topic), one(publisher, publisher), expires_at, now
            )

    def _deliver(self, sessions: dict[str, Session], rows: Iterable[DeliveryRow]) -> None:
        messages, groups, hold = self._messages, self._groups, self._budget.hold
        for row, client_id, message_row, qos, retain, identifiers, share, packet_id in rows:
            message = messages[message_row]
            message.held += 1
            outgoing = Outgoing(
                message,
                qos,
                retain == 1,
                tuple(map(int, identifiers.split())) if identifiers else (),
                # The last member may have unsubscribed while the message was on its way.
                None if share is None else groups.get(share),
            )
            outgoing.row = row
            session = sessions[client_id]
            session.held_bytes += message.size
            hold(message)
            if packet_id:
                session.resend[packet_id] = outgoing
            else:
                session.queue.append(outgoing)


def owners(stored: Stored) -> frozenset[str]:
    """Whose sessions and wills those are."""
    return frozenset(kept.owner for kept in stored.sessions) | _owners_of_wills(stored)


def owners_by_right(stored: Stored) -> frozenset[str]:
    """Whose wills and subscriptions those are, which are there by a right."""
    subscribed = {each.client_id for each in stored.subscriptions}
    sessions = (each.owner for each in stored.sessions if each.client_id in subscribed)
    return frozenset(sessions) | _owners_of_wills(stored)


def _owners_of_wills(stored: Stored) -> frozenset[str]:
    # An earlier program wrote wills without it.
    return frozenset(read(will.connect)[0] for will in stored.wills) - {""}
