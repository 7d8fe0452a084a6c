"""PUBACK, PUBREC and PUBCOMP from clients: what was sent to them has arrived."""

from __future__ import annotations

from collections.abc import Iterable

from mqtt5 import (
    PubAckPacket,
    PubCompPacket,
    PubRecPacket,
    PubRelPacket,
    PubRelReasonCode,
)

from broker.core.connection import Connection
from broker.core.delivery import Delivery
from broker.core.journal import Journal
from broker.core.session import Outgoing, Session
from mqtt.codec import encode
from mqtt.errors import ProtocolError


class Acknowledging:
    """Frees what clients acknowledge and sends what waited for the room."""

    def __init__(self, delivery: Delivery, journal: Journal) -> None:
        self._delivery = delivery
        self._journal = journal

    def acknowledged(self, connection: Connection, packet: PubAckPacket, now: float) -> None:
        """PUBACK [MQTT-4.3.2-5]; with a refusal in it the message ends as well [MQTT-4.8.2-6]."""
        session = connection.session
        assert session is not None
        if self._finish(session, packet.packet_id, 1) is None:
            _check_released(session, packet.packet_id)
        if session.queue or session.resend or session.groups:
            self._delivery.pump(session, now)

    def all_acknowledged(
        self, connection: Connection, packet_ids: Iterable[int], now: float
    ) -> None:
        """PUBACKs of success that came in a row, as ``acknowledged`` takes each."""
        session = connection.session
        assert session is not None
        for packet_id in packet_ids:
            if self._finish(session, packet_id, 1) is None:
                _check_released(session, packet_id)
        if session.queue or session.resend or session.groups:
            self._delivery.pump(session, now)

    def received(self, connection: Connection, packet: PubRecPacket, now: float) -> None:
        """PUBREC: PUBREL answers it, unless the client refused [MQTT-4.3.3-4]."""
        session = connection.session
        assert session is not None
        packet_id = packet.packet_id
        reason = PubRelReasonCode.SUCCESS
        if packet_id not in session.released:
            if self._finish(session, packet_id, 2) is None:
                if int(packet.reason_code) >= 0x80:
                    return
                reason = PubRelReasonCode.PACKET_ID_NOT_FOUND
            elif int(packet.reason_code) < 0x80:
                session.released[packet_id] = None
                self._journal.released(session, packet_id, waits=True)
            else:
                self._delivery.pump(session, now)
                return
        elif int(packet.reason_code) >= 0x80:
            return
        self._delivery.turn.send(
            connection, encode(PubRelPacket(packet_id, reason_code=reason), connection.protocol)
        )

    def completed(self, connection: Connection, packet: PubCompPacket, now: float) -> None:
        """PUBCOMP: the identifier is free again."""
        session = connection.session
        assert session is not None
        if packet.packet_id in session.released:
            del session.released[packet.packet_id]
            self._journal.released(session, packet.packet_id, waits=False)
            self._delivery.pump(session, now)
        elif packet.packet_id in session.unacknowledged:
            raise ProtocolError(f"PUBCOMP for {packet.packet_id}, which no PUBREC has come for")

    def _finish(self, session: Session, packet_id: int, qos: int) -> Outgoing | None:
        """Takes a message out of what is unacknowledged; None for an unknown identifier."""
        held = session.unacknowledged
        outgoing = held.get(packet_id)
        if outgoing is None:
            # Sent on an earlier connection, and acknowledged before it was sent again.
            held = session.resend
            outgoing = held.get(packet_id)
            if outgoing is None:
                return None
        if outgoing.qos != qos:
            raise ProtocolError(
                f"packet identifier {packet_id} belongs to a QoS {outgoing.qos} message and was"
                f" acknowledged as QoS {qos}"
            )
        del held[packet_id]
        session.let_go(outgoing.message)
        if outgoing.row:
            self._journal.done(outgoing)
        return outgoing


def _check_released(session: Session, packet_id: int) -> None:
    """An identifier that waits for PUBCOMP is not to be acknowledged by PUBACK."""
    if packet_id in session.released:
        raise ProtocolError(
            f"packet identifier {packet_id} belongs to a QoS 2 message and was acknowledged as"
            " QoS 1"
        )
