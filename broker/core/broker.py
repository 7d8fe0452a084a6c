"""The core's front door: bytes, packets, ticks and authentication results in; a ``Turn`` out.

Every call takes ``now``: seconds of one clock that never goes back. The shell collects what a
turn of its loop brought, then calls ``take_turn`` and does what it says, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mqtt5 import (
    AuthPacket,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PubAckPacket,
    PubCompPacket,
    PubRecPacket,
    PubRelPacket,
    SubscribePacket,
    UnsubscribePacket,
)

from broker.auth.principal import Principal
from broker.core.acknowledging import Acknowledging
from broker.core.actions import Turn, Write
from broker.core.admitting import Admitting
from broker.core.authenticating import Authenticating
from broker.core.budget import Budget
from broker.core.catching_up import CatchingUp
from broker.core.connection import Connection, Received
from broker.core.counters import Counters
from broker.core.delivery import Delivery
from broker.core.ending import Ending
from broker.core.facts import Stored
from broker.core.handshake import Handshake, Refused
from broker.core.journal import Journal
from broker.core.limits import Limits
from broker.core.liveness import Liveness
from broker.core.memory import Memory
from broker.core.message import Message
from broker.core.own_topics import OwnTopics
from broker.core.pacing import Pacing
from broker.core.publishing import Publishing
from broker.core.receiving import Handler, Receiving
from broker.core.restoring import Restoring
from broker.core.retained import Retained
from broker.core.session import Session
from broker.core.sessions import Sessions
from broker.core.stalling import Stalling
from broker.core.subscribing import Subscribing
from broker.core.subscriptions import Subscriptions
from broker.core.timers import Timers
from broker.core.wills import Wills
from mqtt.codec import Decoder, ProtocolVersion
from mqtt.plain import FullPublish, PlainPublishes

_PINGRESP = b"\xd0\x00"


class Broker:
    """An MQTT server without its sockets.

    ``new_token`` returns a unique text for client identifiers that the server assigns. ``durable``:
    each turn has the changes that a store is to keep. ``methods``: those of enhanced authentication
    (4.12) that the shell knows.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        new_token: Callable[[], str],
        durable: bool = False,
        methods: Collection[str] = (),
    ) -> None:
        self.limits = limits
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self._timers = Timers()
        journal = self._journal = Journal(durable=durable)
        budget = self.budget = Budget(limits)
        memory = self._memory = Memory(budget)
        self.retained = Retained(
            maximum_messages=limits.retained_messages,
            maximum_bytes=limits.retained_bytes,
            journal=journal,
            budget=budget,
            timers=self._timers,
        )
        subscriptions = Subscriptions()
        self._delivery = Delivery(
            limits=limits,
            subscriptions=subscriptions,
            timers=self._timers,
            counters=self.counters,
            journal=journal,
            budget=budget,
        )
        self.own_topics = OwnTopics(delivery=self._delivery, retained=self.retained)
        publishing = Publishing(
            limits=limits,
            delivery=self._delivery,
            retained=self.retained,
            counters=self.counters,
            journal=journal,
            budget=budget,
            memory=memory,
        )
        catching_up = CatchingUp(
            retained=self.retained, delivery=self._delivery, timers=self._timers, budget=budget
        )
        subscribing = Subscribing(
            limits=limits,
            subscriptions=subscriptions,
            delivery=self._delivery,
            catching_up=catching_up,
            journal=journal,
            budget=budget,
        )
        acknowledging = Acknowledging(self._delivery, journal)
        self._wills = Wills(
            publishing=publishing,
            timers=self._timers,
            counters=self.counters,
            journal=journal,
            budget=budget,
            turn=self._delivery.turn,
            session_of=lambda client_id: self.sessions.get(client_id),
        )
        self.sessions = Sessions(
            limits=limits,
            subscribing=subscribing,
            wills=self._wills,
            timers=self._timers,
            journal=journal,
            budget=budget,
        )
        turn = self._delivery.turn
        self._restoring = Restoring(
            journal=journal,
            sessions=self.sessions,
            subscribing=subscribing,
            retained=self.retained,
            wills=self._wills,
            budget=budget,
        )
        self._handshake = Handshake(
            limits=limits,
            sessions=self.sessions,
            wills=self._wills,
            journal=journal,
            budget=budget,
            counters=self.counters,
            turn=turn,
            new_token=new_token,
        )
        self._ending = Ending(
            limits=limits,
            turn=turn,
            counters=self.counters,
            handshake=self._handshake,
            sessions=self.sessions,
            wills=self._wills,
            forget=self._forget,
        )
        self._stalling = Stalling(
            budget=budget,
            turn=turn,
            timers=self._timers,
            counters=self.counters,
            go_on=self._go_on,
            end=self._ending.close,
        )
        self._limited = (
            *(self._delivery.room, publishing, subscribing),
            *(self.sessions, self._handshake, self._ending, budget),
        )
        self._liveness = Liveness(
            connect_timeout_seconds=limits.connect_timeout_seconds,
            timers=self._timers,
            counters=self.counters,
            turn=turn,
            end=self._ending.close,
        )
        self.pacing = Pacing(limits=limits, turn=turn, timers=self._timers, counters=self.counters)
        self._authenticating = Authenticating(turn=turn, liveness=self._liveness, methods=methods)
        self.admitting = Admitting(
            turn=turn,
            counters=self.counters,
            handshake=self._handshake,
            authenticating=self._authenticating,
            liveness=self._liveness,
            pacing=self.pacing,
            memory=memory,
            ending=self._ending,
            sessions=self.sessions,
            subscribing=subscribing,
            wills=self._wills,
            send_all_again=self._delivery.send_all_again,
            go_on=self._go_on,
        )
        self._plain = PlainPublishes(Message)
        handlers: dict[type[Received], Handler] = {
            Message: publishing.take_in,
            ConnectPacket: self._connect,
            FullPublish: publishing.publish,
            PubAckPacket: acknowledging.acknowledged,
            PubRecPacket: acknowledging.received,
            PubRelPacket: publishing.release,
            PubCompPacket: acknowledging.completed,
            SubscribePacket: subscribing.subscribe,
            UnsubscribePacket: subscribing.unsubscribe,
            PingReqPacket: self._ping,
            DisconnectPacket: self._ending.disconnected,
            AuthPacket: self._authenticating.answered,
        }
        self._receiving = Receiving(
            handlers=handlers,
            acknowledging=acknowledging,
            ending=self._ending,
            memory=memory,
            pacing=self.pacing,
            stalling=self._stalling,
        )

    def restore(
        self,
        stored: Stored,
        now: float,
        *,
        removed: Collection[str] = (),
        principals: Mapping[str, Principal],
    ) -> int:
        """Takes up what an earlier process left; before anything else, and once.

        ``removed``: owners of sessions and wills who are nobody any more, and leave nothing.
        ``principals``: by name, owners of wills and of subscriptions as they are now; of others no
        will is published.
        Returns how many messages there were.
        """
        messages = self._restoring.restore(stored, now, removed, principals)
        for session in [each for each in self.sessions if each.owner in removed]:
            self.admitting.end_session_of_removed(session, now)
        return messages

    def opened(self, peer: str, now: float, *, transport_bytes: int = 0) -> Connection:
        """A client has connected; ``peer`` is its address, for the log.

        ``transport_bytes``: the memory that its transport takes beyond that of plain TCP.
        """
        decoder = Decoder(maximum_packet_bytes=self.limits.connect_packet_bytes, plain=self._plain)
        # Who is not logged in would fill what all share.
        decoder.teaches = False
        decoder.maximum_filters = self.limits.filters_of_a_packet
        connection = Connection(peer=peer, decoder=decoder, now=now)
        self.connections.add(connection)
        self._memory.opened(connection, transport_bytes)
        self._liveness.await_connect(connection, now)
        return connection

    def feed(self, connection: Connection, data: bytes, now: float) -> None:
        """Bytes came from the client."""
        self._receiving.feed(connection, data, now)

    def lost(self, connection: Connection, now: float, reason: str) -> None:
        """The network connection is gone without a DISCONNECT."""
        self._ending.lost(connection, now, reason)

    def failed(self, connection: Connection, error: Exception, now: float) -> None:
        """A call that was about this connection raised an error that nobody foresaw: it ends."""
        self._ending.failed(connection, error, now)

    def written(self, connection: Connection, unwritten_bytes: int, now: float) -> None:
        """The shell has done a ``Write``; ``unwritten_bytes`` still wait for the system."""
        connection.leaving_bytes = 0
        self.passed_on(connection, unwritten_bytes, now)

    def passed_on(self, connection: Connection, unwritten_bytes: int, now: float) -> None:
        """The system took some of what was written; ``unwritten_bytes`` still wait for it."""
        limit = self.limits.write_buffer_bytes
        was_full = connection.buffered_bytes >= limit
        connection.buffered_bytes = (
            unwritten_bytes + connection.leaving_bytes + sum(map(len, connection.out))
        )
        if connection.buffered_bytes or connection.charged_buffers:
            self._receiving.buffers_changed(connection, now)
        if was_full and connection.buffered_bytes < limit and connection.session is not None:
            self._delivery.pump(connection.session, now)

    def tick(self, now: float) -> None:
        """Runs every deadline that has passed."""
        self._timers.run_due(now)
        self._stalling.resume(now)

    def next_deadline(self) -> float | None:
        """When ``tick`` is to be called next."""
        return self._timers.next_deadline()

    def shut_down(self, now: float) -> None:
        """Says goodbye to everyone: DISCONNECT 0x8B (4.13). Wills are published."""
        code = DisconnectReasonCode.SERVER_SHUTTING_DOWN
        for connection in list(self.connections):
            self._ending.close(connection, code, "server shutting down", now)

    def kick(self, session: Session, now: float, *, forget: bool) -> None:
        """An operator ends the connection (DISCONNECT 0x98), and with ``forget`` the session."""
        if session.connection is not None:
            code = DisconnectReasonCode.ADMINISTRATIVE_ACTION
            self._ending.close(session.connection, code, "closed by an operator", now)
        if forget and self.sessions.get(session.client_id) is session:
            self.sessions.end(session, now)

    def change_limits(self, limits: Limits) -> None:
        """New limits, which differ from those before in ``LIVE`` ones alone.

        What a connection was told at its CONNACK holds until its end.
        """
        for part in (self, *self._limited, self.pacing):
            part.limits = limits
        self.retained.maximum_messages = limits.retained_messages
        self.retained.maximum_bytes = limits.retained_bytes
        for connection in self.connections:
            connection.decoder.maximum_filters = limits.filters_of_a_packet
        self.sessions.limits_changed()
        self.pacing.limits_changed(self.connections)

    def take_turn(self) -> Turn:
        """What was decided since the last call."""
        return self._delivery.turn.take(self._journal.take())

    def take_early(self) -> list[Write]:
        """What was decided and need not wait for the commit that is under way."""
        return self._delivery.turn.take_early()

    @property
    def has_early(self) -> bool:
        """Whether ``take_early`` may have something to give."""
        return bool(self._delivery.turn.eager)

    @property
    def has_work(self) -> bool:
        """Whether ``take_turn`` has something to give that somebody waits for."""
        return bool(self._delivery.turn)

    @property
    def has_changes(self) -> bool:
        """Whether it may have something for the store, which can wait where nobody does."""
        return bool(self._journal)

    def _connect(self, connection: Connection, packet: ConnectPacket, now: float) -> None:
        connection.v5 = connection.protocol is ProtocolVersion.V5
        try:
            self._handshake.begin(connection, packet)
            self._authenticating.begin(connection, packet)
        except Refused as refusal:
            self._ending.refuse(connection, refusal, now)

    def _forget(self, connection: Connection) -> None:
        self._liveness.stop(connection)
        self._stalling.forget(connection)
        self.pacing.forget(connection)
        self._memory.ended(connection)
        self.connections.discard(connection)

    def _ping(self, connection: Connection, packet: PingReqPacket, now: float) -> None:
        # [MQTT-3.12.4-1]
        self._delivery.turn.send(connection, _PINGRESP)

    def _go_on(self, connection: Connection, now: float) -> None:
        self._receiving.go_on(connection, now)


__all__ = ["Broker", "Connection", "Session", "Turn"]
