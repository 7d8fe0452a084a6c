"""From an accepted message to the clients that get it.

``route`` finds who gets a message and sends it, or lets it wait: in the session's queue while its
client is away or has no room, in the share group while no member has room. ``pump`` sends what
waits when there is room again. Two invariants carry the order [MQTT-4.6.0-6]: nothing new is sent
to a session while something older waits for it, and a share group's queue is only non-empty while
no member has room. What may come to wait is bounded; whatever a session holds is sent, even if its
bounds are lower by now.
"""

from __future__ import annotations

from broker.core.actions import Turn
from broker.core.budget import Budget
from broker.core.connection import Connection, Leaves
from broker.core.counters import Counters
from broker.core.journal import Journal
from broker.core.limits import Limits
from broker.core.losses import Losses
from broker.core.making_room import MakingRoom
from broker.core.message import V5, Message
from broker.core.session import GIVEN_UP, Outgoing, Session
from broker.core.sharing import ShareGroup
from broker.core.subscriptions import Subscription, Subscriptions
from broker.core.timers import Timers

_DUPLICATE = 0x08
_NOTHING, _EARLY, _AFTER_THE_COMMIT = Leaves


class Delivery:
    """Sends messages to sessions and keeps those that must wait."""

    def __init__(
        self,
        *,
        limits: Limits,
        subscriptions: Subscriptions,
        timers: Timers,
        counters: Counters,
        journal: Journal,
        budget: Budget,
    ) -> None:
        self.turn = Turn()
        self._write_buffer_bytes = limits.write_buffer_bytes
        self._subscriptions = subscriptions
        self.losses = Losses(self.turn, timers)
        self.room = MakingRoom(
            limits=limits, counters=counters, journal=journal, budget=budget, losses=self.losses
        )
        self._counters = counters
        self._journal = journal
        self._budget = budget

    def route(self, message: Message, publisher: Session | None, now: float) -> bool:
        """Delivers to everyone who subscribed. Returns whether anyone did."""
        routes = self._subscriptions.lookup(message.topic)
        matched = bool(routes.groups)
        for route in routes.sessions:
            if route.session is publisher:
                own = route.own
                if own is None:
                    continue
                route = own
            matched = True
            self.deliver(
                route.session,
                Outgoing(
                    message,
                    # [MQTT-3.8.4-8]: the lower of the publisher's and the subscriber's.
                    message.qos if message.qos < route.qos else route.qos,
                    # [MQTT-3.3.1-12], [MQTT-3.3.1-13]
                    message.retain and route.retain_as_published,
                    route.subscription_ids,
                    None,
                ),
                now,
            )
        for group in routes.groups:
            self._deal(group, message, now)
        return matched

    def deliver(self, session: Session, outgoing: Outgoing, now: float) -> None:
        """Sends one message to one session, or queues it."""
        connection = session.connection
        if connection is None:
            if outgoing.qos:
                self._enqueue(session, outgoing, now)
            return
        limit = self._write_buffer_bytes
        has_room = session.has_room(limit) if outgoing.qos else session.may_send_0(limit)
        if has_room and not session.queue and not session.resend:
            self._send(session, connection, outgoing, now)
        else:
            self._enqueue(session, outgoing, now)

    def pump(self, session: Session, now: float) -> None:
        """Sends what waits for the session as long as there is room, in order."""
        connection = session.connection
        if connection is None:
            return
        limit = self._write_buffer_bytes
        while session.resend and session.may_send(limit):
            self._send_again(session, connection, now)
        while session.queue and session.may_send(limit):
            outgoing = session.take_first()
            if outgoing.message.expired(now):
                # [MQTT-3.3.2-5]
                self._counters.dropped_expired += 1
                self._journal.done(outgoing)
            else:
                self._send(session, connection, outgoing, now)
        for group in session.groups.values():
            while group.queue and session.has_room(limit):
                message, row = self.room.take(group)
                self._send_shared(session, connection, message, group, now)
                # After it has its place in the session, so that it keeps its row.
                self._journal.taken(row, message)
            while group.queue_0 and session.may_send_0(limit):
                self._send_shared(session, connection, self.room.take_0(group), group, now)

    def _send_shared(
        self,
        session: Session,
        connection: Connection,
        message: Message,
        group: ShareGroup,
        now: float,
    ) -> None:
        if message.expired(now):
            self._counters.dropped_expired += 1
        else:
            outgoing = _shared(message, group.members[session], group)
            self._send(session, connection, outgoing, now)

    def send_all_again(self, session: Session, now: float) -> None:
        """On a resumed session [MQTT-4.4.0-1]: PUBREL first, being the oldest, then PUBLISH."""
        connection = session.connection
        assert connection is not None
        for packet_id in session.released:
            self.turn.send(connection, b"\x62\x02" + packet_id.to_bytes(2, "big"))
        self.pump(session, now)

    def hand_on(self, session: Session, now: float) -> None:
        """Gives a session's undelivered shared messages to the other members of their groups.

        For a session that has ended and whose subscriptions are gone. A QoS 2 message that was
        already sent goes to nobody else [MQTT-4.8.2-5]; what is not shared ends with the session.
        """
        started = list(session.unacknowledged.values()) + list(session.resend.values())
        waiting = [outgoing for outgoing in session.queue if outgoing.message is not GIVEN_UP]
        for outgoing in started:
            self._hand_over(outgoing, outgoing.group if outgoing.qos < 2 else None, now)
        for outgoing in waiting:
            self._hand_over(outgoing, outgoing.group, now)
        for outgoing in (*started, *waiting):
            self._journal.done(outgoing)
            session.let_go(outgoing.message)
        session.unacknowledged.clear()
        session.resend.clear()
        session.released.clear()
        session.queue.clear()
        session.queue_0.clear()
        session.given_up = 0
        self.losses.session_ended(session)

    def _hand_over(self, outgoing: Outgoing, group: ShareGroup | None, now: float) -> None:
        if group is not None and group.members and not outgoing.message.expired(now):
            self._deal(group, outgoing.message, now)
        elif outgoing.qos:
            self._counters.dropped_session_ended += 1

    def keep_for(
        self, session: Session, group: ShareGroup, subscription: Subscription, now: float
    ) -> None:
        """The last member unsubscribed: what its group still held stays with its session."""
        while group.queue:
            message, row = self.room.take(group)
            self.deliver(session, _shared(message, subscription, group), now)
            self._journal.taken(row, message)
        while group.queue_0:
            self.deliver(session, _shared(self.room.take_0(group), subscription, group), now)

    def abandon(self, group: ShareGroup) -> None:
        """The last member's session has ended: nobody is left to get what the group held."""
        self._counters.dropped_session_ended += len(group.queue)
        while group.queue:
            self.room.drop_first(group)
        while group.queue_0:
            self.room.take_0(group)

    def member_left(self, group: ShareGroup) -> None:
        """Of a group with others left. What it holds is not stored for those that do not last."""
        if any(group.rows) and not any(session.stored for session in group.members):
            for index, message in enumerate(group.queue):
                self._journal.taken(group.rows[index], message)
                group.rows[index] = 0

    def _deal(self, group: ShareGroup, message: Message, now: float) -> None:
        if not (group.queue if message.qos else group.queue_0):
            member = group.next_with_room(self._write_buffer_bytes, at_qos_0=not message.qos)
            if member is not None:
                session = member.session
                assert session.connection is not None
                self._send(session, session.connection, _shared(message, member, group), now)
                return
        if message.qos == 0 and not group.present:
            return
        if not self.room.in_group(group, message, now):
            return
        stored = message.qos and any(session.stored for session in group.members)
        self._budget.hold(message)
        group.wait(message, self._journal.waits(group.filter, message) if stored else 0)

    def _enqueue(self, session: Session, outgoing: Outgoing, now: float) -> None:
        if not self.room.in_session(session, outgoing, now):
            return
        if outgoing.qos:
            self._journal.queued(session, outgoing)
        session.queue_up(outgoing)

    def _send(
        self, session: Session, connection: Connection, outgoing: Outgoing, now: float
    ) -> None:
        message = outgoing.message
        qos = outgoing.qos
        flags = qos << 1 | outgoing.retain
        if connection.v5:
            head, properties = message.frame(flags | V5, outgoing.subscription_ids, now)
        else:
            head, properties = message.frame(flags, (), now)
        payload = message.payload
        largest = connection.maximum_packet_bytes
        if connection.sent_aliases is not None:
            head, properties = connection.sent_aliases.frame(
                message.topic,
                head,
                properties,
                following_bytes=len(payload) + (2 if qos else 0),
                largest_bytes=largest,
            )
        size = len(head) + len(properties) + len(payload) + (2 if qos else 0)
        if largest is not None and size > largest:
            self._too_large(session, outgoing, largest, now)
            return
        self._counters.messages_sent += 1
        if qos:
            packet_id = session.take_packet_id()
            session.unacknowledged[packet_id] = outgoing
            session.hold(message)
            if session.stored:
                self._journal.sent(session, outgoing, packet_id)
            connection.out += (head, packet_id.to_bytes(2, "big"), properties, payload)
        else:
            connection.out += (head, properties, payload)
        connection.buffered_bytes += size
        leaves = connection.leaves
        if leaves is _AFTER_THE_COMMIT:
            return
        if qos == 2 or connection.leaving_bytes:
            # What was decided before it has not left yet.
            connection.leaves = _AFTER_THE_COMMIT
            self.turn.dirty.append(connection)
        elif leaves is _NOTHING:
            connection.leaves = _EARLY
            self.turn.eager.append(connection)

    def _send_again(self, session: Session, connection: Connection, now: float) -> None:
        """[MQTT-4.4.0-1], [MQTT-3.3.1-1]: the same packet identifier, DUP set."""
        packet_id = next(iter(session.resend))
        outgoing = session.resend.pop(packet_id)
        flags = outgoing.qos << 1 | outgoing.retain | (V5 if connection.v5 else 0)
        ids = outgoing.subscription_ids if connection.v5 else ()
        head, properties = outgoing.message.frame(flags, ids, now)
        first = bytes((head[0] | _DUPLICATE,))
        identifier = packet_id.to_bytes(2, "big")
        data = b"".join((first, head[1:], identifier, properties, outgoing.message.payload))
        largest = connection.maximum_packet_bytes
        if largest is not None and len(data) > largest:
            session.let_go(outgoing.message)
            self._too_large(session, outgoing, largest, now)
            return
        session.unacknowledged[packet_id] = outgoing
        self._counters.messages_redelivered += 1
        self.turn.send(connection, data)

    def _too_large(self, session: Session, outgoing: Outgoing, largest: int, now: float) -> None:
        """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: not sent, and taken as delivered."""
        self._journal.done(outgoing)
        self._counters.dropped_too_large += 1
        self.losses.note(session, f"dropped, larger than the client takes ({largest} bytes)", now)


def _shared(message: Message, member: Subscription, group: ShareGroup) -> Outgoing:
    return Outgoing(
        message,
        message.qos if message.qos < member.qos else member.qos,
        message.retain and member.retain_as_published,
        () if member.identifier is None else (member.identifier,),
        group,
    )
