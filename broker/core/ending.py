"""How connections end: by the client, by this side, or by the network.

Whoever ends one says goodbye as the version allows, closes it and lets go of its session; the will
is published unless the client took it back by a normal DISCONNECT.
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import ConnAckReasonCode, DisconnectPacket, DisconnectReasonCode

from broker.core.actions import Close, Notice, Turn
from broker.core.authenticating import Unproved
from broker.core.connection import Connection, Exchange, State
from broker.core.counters import Counters
from broker.core.handshake import Handshake, Refused
from broker.core.limits import Limits
from broker.core.reasons import encode_with_reason
from broker.core.sessions import Sessions
from broker.core.wills import Wills
from mqtt.codec import ProtocolVersion
from mqtt.errors import ProtocolError, UnsupportedProtocol

INTERNAL_ERROR = "internal_error"
"""The notice's event of what failed; whoever knows how can bring it about again and again."""

_UNSUPPORTED_PROTOCOL = {
    ProtocolVersion.V311: b"\x20\x02\x00\x01",
    ProtocolVersion.V5: b"\x20\x03\x00\x84\x00",
}
"""CONNACK for who asks for another version, in the form that he understands."""


class Ending:
    """Ends connections. ``forget`` is told of each that has ended, before its session is let go."""

    def __init__(
        self,
        *,
        limits: Limits,
        turn: Turn,
        counters: Counters,
        handshake: Handshake,
        sessions: Sessions,
        wills: Wills,
        forget: Callable[[Connection], None],
    ) -> None:
        self.limits = limits
        self._turn = turn
        self._counters = counters
        self._handshake = handshake
        self._sessions = sessions
        self._wills = wills
        self._forget = forget

    def lost(self, connection: Connection, now: float, reason: str) -> None:
        """The network connection is gone without a DISCONNECT."""
        if connection.state is not State.CLOSED:
            self._turn.notice(
                connection, f"connection lost: {reason}", event="connection_lost", reason=reason
            )
            self._end(connection, now, with_will=True)

    def disconnected(self, connection: Connection, packet: DisconnectPacket, now: float) -> None:
        """DISCONNECT from the client. Raises ProtocolError."""
        session = connection.session
        if session is None:
            # [MQTT-3.1.2-30]: instead of an answer to a challenge.
            error = ProtocolError("the client gave up its authentication")
            self.violated(connection, error, now)
            return
        interval = packet.session_expiry_interval
        if interval is not None:
            if interval and not session.expiry_seconds:
                # [MQTT-3.14.2-2], and 3.14.2.2.2: 0 in CONNECT stays 0.
                raise ProtocolError("DISCONNECT sets a session expiry where CONNECT had none")
            session.expiry_seconds = min(interval, self.limits.session_expiry_seconds)
        code = packet.reason_code
        # [MQTT-3.14.4-3], [MQTT-3.1.2-10]
        normal = code == DisconnectReasonCode.NORMAL_DISCONNECTION
        self._turn.notice(
            connection,
            f"disconnected by the client ({code.name.lower()})",
            event="disconnected",
            reason=code.name.lower(),
        )
        self._turn.closes.append(
            Close(connection=connection, reason=f"client: {code.name.lower()}")
        )
        self._end(connection, now, with_will=not normal)

    def taken_over(self, connection: Connection, now: float) -> None:
        """Another connection is accepted with its client identifier."""
        # [MQTT-3.1.4-3]
        self._counters.sessions_taken_over += 1
        self.close(
            connection,
            DisconnectReasonCode.SESSION_TAKEN_OVER,
            "another connection uses the client identifier",
            now,
        )

    def violated(self, connection: Connection, error: ProtocolError, now: float) -> None:
        """The client broke the protocol."""
        if connection.state in (State.CLOSED, State.EXPELLED):
            return
        self._counters.protocol_errors += 1
        if connection.state is State.CONNECTED:
            # [MQTT-4.13.1-1]
            self.close(connection, _disconnect_code(error), str(error), now)
            return
        if isinstance(error, UnsupportedProtocol):
            # [MQTT-3.1.2-1], [MQTT-3.1.2-2]
            if error.level is not None:
                self._turn.send(connection, _UNSUPPORTED_PROTOCOL[ProtocolVersion(error.level)])
        elif connection.decoder.protocol:
            # [MQTT-3.1.4-1], [MQTT-4.12.0-4]
            connection.v5 = connection.protocol is ProtocolVersion.V5
            if connection.v5:
                self._handshake.refuse(connection, Refused(_connack_code(error), str(error)))
        self._turn.notice(
            connection,
            f"closed before CONNACK: {error}",
            event="closed_before_connack",
            reason=str(error),
            warning=True,
        )
        self._turn.closes.append(Close(connection=connection, reason=str(error)))
        self._end(connection, now, with_will=False)

    def refuse(self, connection: Connection, refusal: Refused, now: float) -> None:
        """CONNECT is answered with a refusal."""
        self._counters.connections_refused += 1
        reason = refusal.why or str(refusal)
        self._turn.notice(
            connection,
            f"CONNECT refused ({refusal.reason_code.name.lower()}): {reason}",
            event="connect_refused",
            reason=reason,
            warning=True,
        )
        self._handshake.refuse(connection, refusal)
        # [MQTT-3.1.4-6], [MQTT-3.2.2-7]
        self._turn.closes.append(Close(connection=connection, reason=str(refusal)))
        self._end(connection, now, with_will=False)

    def unproved(self, connection: Connection, error: Unproved, now: float) -> None:
        """An exchange, at the CONNECT or later, proved nothing."""
        if connection.state is State.CONNECTED:
            # [MQTT-4.12.1-2]
            code = DisconnectReasonCode.NOT_AUTHORIZED
            self.close(connection, code, str(error), now, why=error.why)
        else:
            # [MQTT-4.12.0-4]
            refusal = Refused(ConnAckReasonCode.NOT_AUTHORIZED, str(error))
            self.refuse(connection, refusal, now)

    def close(
        self,
        connection: Connection,
        code: DisconnectReasonCode,
        reason: str,
        now: float,
        *,
        why: str = "",
    ) -> None:
        """Ends a connection from this side; a 3.1.1 client is told nothing, for there is no way.

        ``why``: more of it, for the log alone.
        """
        if connection.state in (State.CONNECTED, State.EXPELLED):
            told = f"{reason}: {why}" if why else reason
            self._turn.notice(
                connection,
                f"disconnected ({code.name.lower()}): {told}",
                event="closed",
                reason=told,
                warning=True,
            )
            if connection.v5:
                # [MQTT-3.14.0-1] bars it before CONNACK.
                self._say_goodbye(connection, code, reason)
        self._turn.closes.append(Close(connection=connection, reason=reason))
        self._end(connection, now, with_will=True)

    def failed(self, connection: Connection, error: Exception, now: float) -> None:
        """The server itself failed on what a client sent, or is to be sent: that one goes.

        Others are served on, and its session is there for its next connection.
        """
        notice = Notice(
            client_id=connection.client_id or connection.peer,
            text=f"ended by an error of the broker's own, {type(error).__name__}: {error}",
            event=INTERNAL_ERROR,
            reason=str(error),
            connection=connection,
            warning=True,
            error=error,
        )
        self._turn.notices.append(notice)
        if connection.state is State.CLOSED:
            return
        session = self._sessions.get(connection.client_id)
        if session is not None and session.connection is connection:
            # Where it failed before the connection knew of its session.
            connection.session = session
        try:
            self.close(
                connection, DisconnectReasonCode.UNSPECIFIED_ERROR, "an error of the broker's", now
            )
        except Exception:  # noqa: BLE001 - its end fails as well; what caused it is told
            connection.state = State.CLOSED
            self._turn.closes.append(Close(connection=connection, reason="an error"))

    def _say_goodbye(self, connection: Connection, code: DisconnectReasonCode, reason: str) -> None:
        data = encode_with_reason(
            connection,
            lambda text: DisconnectPacket(reason_code=code, reason_str=text),
            reason,
            limits=self.limits,
            is_last=True,
        )
        self._turn.send(connection, data)

    def _end(self, connection: Connection, now: float, *, with_will: bool) -> None:
        connection.state = State.CLOSED
        connection.exchange = Exchange.NONE
        self._forget(connection)
        connection.held.clear()
        connection.aliases.clear()
        session = connection.session
        if session is None:
            return
        connection.session = None
        # Before the will, which may be for its own client: nothing follows a DISCONNECT
        # [MQTT-3.14.4-1].
        self._sessions.connection_ended(session)
        will, connection.will = connection.will, None
        try:
            if will is not None:
                if with_will:
                    self._wills.connection_ended(session.client_id, session.owner, will, now)
                else:
                    self._wills.discarded(session.client_id)
        finally:
            self._sessions.detach(session, now)


def _connack_code(error: ProtocolError) -> ConnAckReasonCode:
    """Only some codes stand in a CONNACK (3.2.2.2): an invalid topic alias is none of them."""
    try:
        return ConnAckReasonCode(error.reason_code)
    except ValueError:
        return ConnAckReasonCode.PROTOCOL_ERROR


def _disconnect_code(error: ProtocolError) -> DisconnectReasonCode:
    """And others in a DISCONNECT (3.14.2.1)."""
    try:
        return DisconnectReasonCode(error.reason_code)
    except ValueError:
        return DisconnectReasonCode.PROTOCOL_ERROR
