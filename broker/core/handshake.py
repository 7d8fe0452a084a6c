"""CONNECT to CONNACK: what is asked for is checked, then who asks, and only then a session touched.

``begin`` checks the packet; ``authenticating`` asks the shell who it is; ``admit`` and ``complete``
get the answer and open the session. A refusal is a ``Refused`` with the CONNACK reason code.
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import ConnAckPacket, ConnAckReasonCode, ConnectPacket

from broker.auth.identity import Login
from broker.auth.principal import Principal
from broker.core.actions import Turn
from broker.core.aliases import SentAliases
from broker.core.budget import Budget
from broker.core.connection import Connection, State
from broker.core.counters import Counters
from broker.core.journal import Journal
from broker.core.left_will import LeftWill
from broker.core.limits import Limits
from broker.core.message import complaint
from broker.core.reasons import encode_with_reason, fits
from broker.core.session import Session
from broker.core.sessions import Sessions
from broker.core.wills import Wills
from mqtt.codec import encode
from mqtt.errors import TopicError
from mqtt.topics import check_topic_name

_LONGEST_TEXT_BYTES = 65_535
"""1.5.4"""


class Refused(Exception):
    """CONNECT is answered with a CONNACK that says no [MQTT-3.1.4-2].

    ``why``: more of it, for the log alone.
    """

    def __init__(self, reason_code: ConnAckReasonCode, text: str, *, why: str = "") -> None:
        super().__init__(text)
        self.reason_code = reason_code
        self.why = why


class Handshake:
    """Takes a connection from its CONNECT to its session.

    ``new_token`` returns text that no client identifier has yet.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        sessions: Sessions,
        wills: Wills,
        journal: Journal,
        budget: Budget,
        counters: Counters,
        turn: Turn,
        new_token: Callable[[], str],
    ) -> None:
        self.limits = limits
        self._sessions = sessions
        self._wills = wills
        self._journal = journal
        self._budget = budget
        self._counters = counters
        self._turn = turn
        self._new_token = new_token

    def begin(self, connection: Connection, packet: ConnectPacket) -> None:
        """Checks CONNECT. Raises Refused."""
        connection.connect = packet
        connection.maximum_packet_bytes = packet.max_packet_size
        connection.declines_reasons = not packet.request_problem_info
        connection.client_id = packet.client_id
        may_last = connection.v5 and self.limits.assign_lasting_client_ids
        if not packet.client_id and not packet.clean_start and not may_last:
            # [MQTT-3.1.3-8]
            wanted = "Clean Start" if connection.v5 else "clean session"
            raise Refused(
                ConnAckReasonCode.CLIENT_ID_NOT_VALID,
                f"an empty client identifier needs {wanted} 1",
            )
        longest = self.limits.client_id_bytes
        if len(packet.client_id) > longest or len(packet.client_id.encode()) > longest:
            # [MQTT-3.1.3-5]: 23 bytes must be taken, more may.
            connection.client_id = ""
            raise Refused(
                ConnAckReasonCode.CLIENT_ID_NOT_VALID,
                f"the client identifier takes more than {longest} bytes",
            )
        if "\0" in packet.client_id:
            # [MQTT-1.5.4-2]
            raise Refused(
                ConnAckReasonCode.CLIENT_ID_NOT_VALID, "the client identifier contains U+0000"
            )
        if packet.will is not None:
            try:
                check_topic_name(packet.will.topic)
            except TopicError as error:
                raise Refused(ConnAckReasonCode.TOPIC_NAME_INVALID, f"will: {error}") from error
            if packet.will.topic.count("/") >= self.limits.topic_levels:
                raise Refused(
                    ConnAckReasonCode.TOPIC_NAME_INVALID,
                    f"will: topic of more than {self.limits.topic_levels} levels",
                )
            wrong = complaint(packet.will)
            if wrong is not None:
                raise Refused(ConnAckReasonCode.PROTOCOL_ERROR, f"will: {wrong}")

    def admit(
        self, connection: Connection, principal: Principal, *, data: bytes | None
    ) -> Session | None:
        """Checks what the principal asks for. Raises Refused.

        Returns the session that another connection may still hold, for a take-over. ``data``: what
        enhanced authentication ends with.
        """
        packet = connection.connect
        assert packet is not None
        if not packet.client_id:
            # [MQTT-3.1.3-6], [MQTT-3.1.3-7]
            connection.client_id = principal.assign_client_id(self._new_token())
        else:
            own = principal.own_client_id(packet.client_id)
            if own is None:
                raise Refused(
                    ConnAckReasonCode.CLIENT_ID_NOT_VALID,
                    f"{principal.kind.value} {principal.name!r} may not use this client identifier",
                )
            connection.client_id = own
        if packet.will is not None and not principal.may_leave_will(packet.will.topic):
            raise Refused(
                ConnAckReasonCode.NOT_AUTHORIZED,
                f"will: a will to {packet.will.topic!r} is not allowed",
            )
        session = self._sessions.get(connection.client_id)
        if session is not None and session.owner != principal.name:
            raise Refused(
                ConnAckReasonCode.NOT_AUTHORIZED,
                "the client identifier's session belongs to another user",
            )
        if session is None and self._budget.memory_is_full:
            # Who has a session may come, and take what waits for it.
            raise Refused(ConnAckReasonCode.QUOTA_EXCEEDED, "the server's memory is at its limit")
        connack = self._connack(connection, packet, present=False, data=data)
        if not fits(connection, connack):
            # [MQTT-3.1.2-24]
            raise Refused(
                ConnAckReasonCode.PACKET_TOO_LARGE,
                f"Maximum Packet Size is {packet.max_packet_size};"
                f" CONNACK takes {len(connack)} bytes",
            )
        return session

    def complete(
        self, connection: Connection, login: Login, now: float, *, data: bytes | None
    ) -> Session:
        """Opens the session and sends CONNACK. The session has no other connection any more.

        ``data``: what enhanced authentication ends with.
        """
        packet = connection.connect
        assert packet is not None
        principal = login.principal
        session, present = self._sessions.open(
            connection, principal, clean_start=packet.clean_start, now=now
        )
        limits = self.limits
        session.expiry_seconds = self._expiry_seconds(packet)
        self._journal.session_kept(session, None)
        if packet.will is not None:
            connection.will = LeftWill(packet.will, connection.decoder.will_properties)
        self._wills.connected(session.client_id, session.owner, connection.will)
        session.window = min(packet.receive_max, limits.in_flight_messages)
        connection.session = session
        connection.principal = principal
        connection.login = login
        aliases = min(packet.topic_alias_max, limits.sent_topic_aliases)
        connection.sent_aliases = SentAliases(aliases, self._counters) if aliases else None
        connection.decoder.maximum_packet_bytes = limits.maximum_packet_bytes
        connection.decoder.teaches = True
        connection.keep_alive_seconds = packet.keep_alive
        connection.state = State.CONNECTED
        connection.decoder.take_pubacks = connection.pubacks.extend
        self._turn.send(connection, self._connack(connection, packet, present=present, data=data))
        return session

    def refuse(self, connection: Connection, refusal: Refused) -> None:
        """Sends the CONNACK that says no, with Session Present 0 [MQTT-3.2.2-6]."""
        data = encode_with_reason(
            connection,
            lambda text: ConnAckPacket(reason_code=refusal.reason_code, reason_str=text),
            str(refusal),
            limits=self.limits,
            is_last=True,
        )
        if fits(connection, data):
            self._turn.send(connection, data)

    def _expiry_seconds(self, packet: ConnectPacket) -> int:
        return min(packet.session_expiry_interval, self.limits.session_expiry_seconds)

    def _connack(
        self,
        connection: Connection,
        packet: ConnectPacket,
        *,
        present: bool,
        data: bytes | None,
    ) -> bytes:
        """CONNACK, with Response Information where it was asked for and there is room for it: a
        server may leave it out (3.1.2.11.6).
        """
        information = self.limits.response_information
        if information is not None and packet.request_response_info:
            information = information.replace("%client", connection.client_id)
            if len(information.encode()) <= _LONGEST_TEXT_BYTES:
                whole = self._encoded(
                    connection, packet, present=present, data=data, information=information
                )
                if fits(connection, whole):
                    return whole
        return self._encoded(connection, packet, present=present, data=data, information=None)

    def _encoded(
        self,
        connection: Connection,
        packet: ConnectPacket,
        *,
        present: bool,
        data: bytes | None,
        information: str | None,
    ) -> bytes:
        limits = self.limits
        longest = limits.server_keep_alive_seconds
        server_keep_alive = None
        if connection.v5 and longest is not None and not 0 < packet.keep_alive <= longest:
            # [MQTT-3.1.2-21]; a 3.1.1 client can't be told, so its own value holds.
            server_keep_alive = connection.keep_alive_seconds = longest
        expiry_seconds = self._expiry_seconds(packet)
        shortened = expiry_seconds != packet.session_expiry_interval
        connack = ConnAckPacket(
            # [MQTT-3.2.2-2], [MQTT-3.2.2-3]
            session_present=present,
            session_expiry_interval=expiry_seconds if shortened else None,
            # [MQTT-3.2.2-16]
            assigned_client_id=None if packet.client_id else connection.client_id,
            server_keep_alive=server_keep_alive,
            # [MQTT-4.12.0-5]
            authentication_method=packet.authentication_method,
            authentication_data=data,
            response_info=information,
            receive_max=limits.receive_maximum,
            topic_alias_max=limits.topic_alias_maximum,
            max_packet_size=limits.maximum_packet_bytes,
        )
        return encode(connack, connection.protocol)
