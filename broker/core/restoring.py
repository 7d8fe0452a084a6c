"""From what a store holds to the state that the last process had, as its clients left it.

A connection that was open then has been lost by now, without a DISCONNECT: its session's expiry and
its will's delay begin, and its will is published [MQTT-3.1.2-8].
"""

from __future__ import annotations

from collections.abc import Collection

from mqtt5 import ConnectPacket, PublishPacket, Will

from broker.core.budget import Budget
from broker.core.facts import DeliveryRow, Stored, Subscribed, WillKept
from broker.core.journal import Journal
from broker.core.memory import RECEIVED_BYTES
from broker.core.message import Message
from broker.core.retained import Retained
from broker.core.session import Outgoing, Session
from broker.core.sessions import Sessions
from broker.core.sharing import ShareGroup
from broker.core.subscribing import Subscribing
from broker.core.subscriptions import Subscription
from broker.core.wills import Wills
from mqtt import codec5
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

    def restore(self, stored: Stored, now: float, removed: Collection[str]) -> None:
        """Builds sessions, queues, retained messages and wills; ends what has expired.

        ``removed``: owners whose wills are not published.
        """
        self._journal.continue_after(stored)
        for row, raw, topic, publisher, expires_at in stored.messages:
            packet = codec5.read(raw)
            assert isinstance(packet, PublishPacket)
            message = Message.of(packet, topic, publisher, now)
            message.expires_at = expires_at
            message.row = row
            self._messages[row] = message
        sessions = {kept.client_id: self._sessions.restore(kept, now) for kept in stored.sessions}
        for subscribed in stored.subscriptions:
            self._subscribe(sessions[subscribed.client_id], subscribed)
        for delivery in stored.deliveries:
            self._deliver(sessions[delivery[1]], delivery)
        for received in stored.received:
            sessions[received.client_id].received.add(received.packet_id)
            self._budget.charge(RECEIVED_BYTES)
        for released in stored.released:
            sessions[released.client_id].released[released.packet_id] = None
        for row, share_filter, message_row in stored.waiting:
            message = self._held(message_row)
            self._budget.hold(message)
            self._groups[share_filter].wait(message, row)
        for topic, row in stored.retained:
            self._retained.restore(topic, self._held(row))
        for kept in stored.sessions:
            if kept.ended_at is None:
                self._sessions.detach(sessions[kept.client_id], now)
        for will in stored.wills:
            owner, left = _will(will)
            if owner in removed:
                self._wills.discarded(will.client_id)
                continue
            self._wills.restore(will.client_id, owner, left, will.publish_at, now)
            if self._sessions.get(will.client_id) is None:
                self._wills.session_ended(will.client_id, now)

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

    def _deliver(self, session: Session, delivery: DeliveryRow) -> None:
        row, _, message_row, qos, retain, identifiers, share, packet_id = delivery
        outgoing = Outgoing(
            self._held(message_row),
            qos,
            bool(retain),
            tuple(map(int, identifiers.split())),
            # The last member may have unsubscribed while the message was on its way.
            None if share is None else self._groups.get(share),
        )
        outgoing.row = row
        session.hold(outgoing.message)
        if packet_id:
            session.resend[packet_id] = outgoing
        else:
            session.queue.append(outgoing)


def owners(stored: Stored) -> frozenset[str]:
    """Whose sessions and wills those are."""
    of_wills = {_will(will)[0] for will in stored.wills}
    # An earlier program wrote wills without it.
    return frozenset({kept.owner for kept in stored.sessions} | of_wills) - {""}


def _will(kept: WillKept) -> tuple[str, Will]:
    """Whose will it is, and the will."""
    connect = codec5.read(kept.connect)
    assert isinstance(connect, ConnectPacket)
    assert connect.will is not None
    return connect.username or "", connect.will
