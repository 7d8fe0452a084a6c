"""PUBLISH from clients: aliases, rights, retained messages, QoS 1 and 2, and their answers."""

from __future__ import annotations

from mqtt5 import (
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PubCompReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRecReasonCode,
    PubRelPacket,
)

from broker.core.budget import Budget
from broker.core.connection import Connection
from broker.core.counters import Counters
from broker.core.delivery import Delivery
from broker.core.journal import Journal
from broker.core.limits import Limits
from broker.core.memory import (
    RECEIVED_BYTES,
    REMEMBERED_TOPIC_BYTES,
    REMEMBERED_TOPIC_LETTERS,
    Memory,
)
from broker.core.message import Message, complaint
from broker.core.reasons import encode_with_reason
from broker.core.retained import Retained
from broker.core.session import Session
from mqtt.codec import encode
from mqtt.errors import ProtocolError
from mqtt.plain import FullPublish

REMEMBERED_RIGHTS = 1_000
"""Topics of one connection whose right to publish is remembered."""

LOGGED_TOPICS = 10
"""Topics of one session whose refusals are logged apart, within ten seconds."""

_SUCCESS = 0x00
_NO_MATCHING_SUBSCRIBERS = 0x10
_UNSPECIFIED_ERROR = 0x80
_NOT_AUTHORIZED = 0x87
_TOPIC_NAME_INVALID = 0x90
_WHY_REFUSED = {
    _NOT_AUTHORIZED: "not allowed",
    _TOPIC_NAME_INVALID: "its topic has more levels",
}
_QUOTA_EXCEEDED = 0x97
_TOPIC_ALIAS_INVALID = 0x94
_RECEIVE_MAXIMUM_EXCEEDED = 0x93


class Publishing:
    """Takes messages in, from clients and from wills."""

    def __init__(
        self,
        *,
        limits: Limits,
        delivery: Delivery,
        retained: Retained,
        counters: Counters,
        journal: Journal,
        budget: Budget,
        memory: Memory,
    ) -> None:
        self.limits = limits
        self._delivery = delivery
        self._retained = retained
        self._counters = counters
        self._journal = journal
        self._budget = budget
        self._memory = memory

    def publish(self, connection: Connection, publish: FullPublish, now: float) -> None:
        """Handles a client's PUBLISH. Raises ProtocolError."""
        packet = publish.packet
        session = connection.session
        assert session is not None
        topic = packet.topic
        if packet.topic_alias is not None:
            topic = self._resolve_alias(connection, packet)
        if packet.subscription_ids:
            # [MQTT-3.3.4-6]
            raise ProtocolError("PUBLISH from a client carries a subscription identifier")
        wrong = complaint(packet)
        if wrong is not None:
            raise ProtocolError(f"PUBLISH with {wrong}")
        if packet.duplicate and not int(packet.qos):
            # [MQTT-3.3.1-2]
            raise ProtocolError("PUBLISH with QoS 0 and DUP", reason_code=0x81)
        self.take_in(connection, Message.of(publish, topic, session.client_id, now), now)

    def take_in(self, connection: Connection, message: Message, now: float) -> None:
        """Handles a client's PUBLISH that is a message already. Raises ProtocolError."""
        self._counters.messages_received += 1
        session = connection.session
        assert session is not None
        message.publisher = session.client_id
        message.arrived_at = now
        if message.qos == 1:
            reason = self._take(connection, session, message, now)
            # [MQTT-4.3.2-4]
            if reason == _SUCCESS:
                self._delivery.turn.send(
                    connection, b"\x40\x02" + message.packet_id.to_bytes(2, "big")
                )
            else:
                self._answer_qos_1(connection, message.packet_id, reason)
        elif message.qos:
            self._publish_qos_2(connection, session, message, now)
        else:
            self._take(connection, session, message, now)

    def release(self, connection: Connection, packet: PubRelPacket, now: float) -> None:
        """PUBREL: the identifier is free again [MQTT-4.3.3-11]."""
        session = connection.session
        assert session is not None
        known = packet.packet_id in session.received
        if known:
            session.received.discard(packet.packet_id)
            self._budget.charge(-RECEIVED_BYTES)
            self._journal.received(session, packet.packet_id, waits=False)
        reason = PubCompReasonCode.SUCCESS if known else PubCompReasonCode.PACKET_ID_NOT_FOUND
        self._delivery.turn.send(
            connection,
            encode(PubCompPacket(packet.packet_id, reason_code=reason), connection.protocol),
        )

    def accept(self, message: Message, publisher: Session | None, now: float) -> int:
        """Retains and routes a message that may be published. Returns the reason code.

        Raises nothing: a retained message beyond the limits is refused whole, with 0x97.
        """
        if message.retain:
            if message.payload and not self._retained.has_room_for(message):
                return _QUOTA_EXCEEDED
            self._retained.keep(message)
        if self._delivery.route(message, publisher, now):
            return _SUCCESS
        self._counters.messages_without_subscriber += 1
        return _NO_MATCHING_SUBSCRIBERS

    def _take(
        self,
        connection: Connection,
        session: Session,
        message: Message,
        now: float,
    ) -> int:
        permitted = connection.permitted.get(message.topic)
        if permitted is None:
            if message.topic.count("/") >= self.limits.topic_levels:
                if not message.qos:
                    # Nothing else tells the client of a message without an acknowledgement.
                    raise ProtocolError(
                        f"topic of more than {self.limits.topic_levels} levels",
                        reason_code=_TOPIC_NAME_INVALID,
                    )
                self._refused(connection, session, message, _TOPIC_NAME_INVALID, now)
                return _TOPIC_NAME_INVALID
            permitted = self._may_publish(connection, message.topic)
        if not permitted:
            reason = _NOT_AUTHORIZED
        elif self._budget.is_full and (message.payload or not message.retain):
            # What clears a retained message makes room.
            reason = _QUOTA_EXCEEDED
        else:
            reason = self.accept(message, session, now)
        if reason >= 0x80:
            self._refused(connection, session, message, reason, now)
        return reason

    def _may_publish(self, connection: Connection, topic: str) -> bool:
        principal = connection.principal
        assert principal is not None
        permitted = principal.may_publish(topic)
        # What is being taken must not lose its room to it: 3.1.1 could not be told.
        has_room = self._budget.has_room_for(REMEMBERED_TOPIC_BYTES)
        if has_room and len(topic) <= REMEMBERED_TOPIC_LETTERS:
            if len(connection.permitted) >= REMEMBERED_RIGHTS:
                self._memory.forget_rights(connection)
            connection.permitted[topic] = permitted
            self._memory.right_remembered()
        return permitted

    def _refused(
        self,
        connection: Connection,
        session: Session,
        message: Message,
        reason: int,
        now: float,
    ) -> None:
        self._counters.publishes_refused += 1
        why = self.why(reason)
        if not connection.v5 and message.qos:
            # [MQTT-3.3.5-2]: 3.1.1 has no refusal; an acknowledgement would be a lie.
            raise ProtocolError(f"PUBLISH to {message.topic!r} refused: {why}", reason_code=reason)
        # One line for each topic of a device; 1,000 topics are not told of one by one.
        about = f" to {message.topic!r}" if len(session.losses) < LOGGED_TOPICS else ""
        self._delivery.losses.note(session, f"PUBLISH{about} refused, {why}", now)

    def why(self, reason: int) -> str:
        """Why a publish is refused with that code, in words."""
        why = _WHY_REFUSED.get(reason)
        if why is None:
            if self._budget.memory_is_full:
                why = "the memory is at its limit"
            elif self._budget.is_full:
                why = "as much waits in all as may"
            else:
                why = "retained messages are at their limit"
        if reason == _TOPIC_NAME_INVALID:
            why += f" than the {self.limits.topic_levels} that are taken"
        return why

    def _told(self, reason: int) -> int:
        """What of a reason a client gets to know."""
        if reason == _NOT_AUTHORIZED and not self.limits.reveal_reasons:
            return _UNSPECIFIED_ERROR
        return reason

    def _answer_qos_1(self, connection: Connection, packet_id: int, reason: int) -> None:
        if not connection.v5:
            data = b"\x40\x02" + packet_id.to_bytes(2, "big")
        elif reason < 0x80:
            data = PubAckPacket(packet_id, reason_code=PubAckReasonCode(reason)).write()
        else:
            code = PubAckReasonCode(self._told(reason))
            data = encode_with_reason(
                connection,
                lambda text: PubAckPacket(packet_id, reason_code=code, reason_str=text),
                self.why(reason),
                limits=self.limits,
            )
        self._delivery.turn.send(connection, data)

    def _publish_qos_2(
        self,
        connection: Connection,
        session: Session,
        message: Message,
        now: float,
    ) -> None:
        packet_id, reason, place = message.packet_id, _SUCCESS, len(connection.out)
        # [MQTT-4.3.3-10]: an identifier that awaits PUBREL is the same message again.
        if packet_id not in session.received:
            if connection.v5 and len(session.received) >= self.limits.receive_maximum:
                # [MQTT-3.3.4-7]
                raise ProtocolError(
                    f"more than {self.limits.receive_maximum} QoS 2 messages are unacknowledged",
                    reason_code=_RECEIVE_MAXIMUM_EXCEEDED,
                )
            reason = self._take(connection, session, message, now)
            if reason < 0x80:
                session.received.add(packet_id)
                self._budget.charge(RECEIVED_BYTES)
                self._journal.received(session, packet_id, waits=True)
        code = PubRecReasonCode(self._told(reason) if connection.v5 else _SUCCESS)
        if int(code) < 0x80:
            data = encode(PubRecPacket(packet_id, reason_code=code), connection.protocol)
        else:
            data = encode_with_reason(
                connection,
                lambda text: PubRecPacket(packet_id, reason_code=code, reason_str=text),
                self.why(reason),
                limits=self.limits,
            )
        self._delivery.turn.send(connection, data)
        # Before the message itself, which a client that subscribes to what it publishes gets too.
        connection.out.insert(place, connection.out.pop())

    def _resolve_alias(self, connection: Connection, packet: PublishPacket) -> str:
        alias = packet.topic_alias
        assert alias is not None
        if not 0 < alias <= self.limits.topic_alias_maximum:
            # [MQTT-3.3.2-8], [MQTT-3.3.2-9]
            raise ProtocolError(
                f"topic alias {alias}; 1 to {self.limits.topic_alias_maximum} are allowed",
                reason_code=_TOPIC_ALIAS_INVALID,
            )
        if packet.topic:
            self._memory.alias_set(connection, packet.topic, connection.aliases.get(alias))
            connection.aliases[alias] = packet.topic
            return packet.topic
        known = connection.aliases.get(alias)
        if known is None:
            # 3.3.2.3.4
            raise ProtocolError(f"topic alias {alias} was never set")
        return known
