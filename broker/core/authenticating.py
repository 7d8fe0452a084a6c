"""Who is it? The shell is asked at CONNECT, and at each step of an enhanced authentication.

::

    CONNECT (method, data) ─> Authenticate        AUTH 0x19 (again) ─> Authenticate
    AUTH 0x18 <── challenge                       AUTH 0x18 <── challenge
    AUTH 0x18 ──> Authenticate                    AUTH 0x18 ──> Authenticate
    CONNACK   <── Admitting.authenticated         AUTH 0x00 <── renew

What a method's data means is the shell's matter; here is the order in which it comes (MQTT 5.0,
section 4.12). A client that logs in by user name and password knows the first step only.
"""

from __future__ import annotations

from collections.abc import Collection

from mqtt5 import AuthPacket, AuthReasonCode, ConnAckReasonCode, ConnectPacket

from broker.auth.identity import Login
from broker.core.actions import Authenticate, Turn
from broker.core.connection import Connection, Exchange, State
from broker.core.handshake import Refused
from broker.core.liveness import Liveness
from mqtt.errors import ProtocolError


class Unproved(Exception):
    """A client can't go on with an exchange, or did not prove again that it is who it was.

    ``why``: more of it, for the log alone.
    """

    why = ""


class Authenticating:
    """Keeps ``Connection.exchange``; ``methods``: those that the shell knows."""

    def __init__(self, *, turn: Turn, liveness: Liveness, methods: Collection[str]) -> None:
        self._turn = turn
        self._liveness = liveness
        self._methods = frozenset(methods)

    def begin(self, connection: Connection, packet: ConnectPacket) -> None:
        """CONNECT is in order: who sent it? Raises Refused."""
        method = packet.authentication_method
        if method is not None and method not in self._methods:
            # [MQTT-4.12.0-1]
            raise Refused(
                ConnAckReasonCode.BAD_AUTHENTICATION_METHOD,
                f"authentication method {method!r} is not supported",
            )
        if method is None and packet.authentication_data is not None:
            # 3.1.2.11.10
            raise Refused(ConnAckReasonCode.PROTOCOL_ERROR, "authentication data without a method")
        connection.state = State.AUTHENTICATING
        connection.method = method
        connection.maximum_packet_bytes = packet.max_packet_size
        self._ask(connection, packet.authentication_data, begins=True)

    def challenge(self, connection: Connection, data: bytes, now: float) -> None:
        """The client must go on [MQTT-4.12.0-2], and has its time for it. Raises Unproved."""
        self._send(connection, AuthReasonCode.CONTINUE_AUTHENTICATION, data)
        connection.exchange = Exchange.CLIENTS_TURN
        if connection.state is State.AUTHENTICATING:
            connection.state = State.CHALLENGED
        self._liveness.await_answer(connection, now)

    def answered(self, connection: Connection, packet: AuthPacket, now: float) -> None:
        """AUTH came, before CONNACK or behind it. Raises ProtocolError."""
        if connection.method is None:
            # [MQTT-4.12.0-6]
            raise ProtocolError("AUTH without an authentication method in CONNECT")
        if packet.authentication_method != connection.method:
            # [MQTT-4.12.0-5], [MQTT-4.12.1-1]
            raise ProtocolError("AUTH with another authentication method than CONNECT's")
        goes_on = packet.reason_code is AuthReasonCode.CONTINUE_AUTHENTICATION
        if goes_on and connection.exchange is Exchange.CLIENTS_TURN:
            # [MQTT-4.12.0-3]
            self._liveness.answered(connection)
            if connection.state is State.CHALLENGED:
                connection.state = State.AUTHENTICATING
        elif (
            packet.reason_code is not AuthReasonCode.RE_AUTHENTICATE
            or connection.exchange is not Exchange.NONE
        ):
            raise ProtocolError(f"AUTH ({packet.reason_code.name.lower()}) out of its turn")
        self._ask(connection, packet.authentication_data, begins=not goes_on)

    def ended(self, connection: Connection) -> None:
        """The client has proved who it is: its password is let go of, with all of CONNECT."""
        connection.exchange = Exchange.NONE
        connection.connect = None

    def renew(self, connection: Connection, login: Login | None, data: bytes | None) -> Login:
        """Ends a re-authentication (4.12.1); returns what was proved. Raises Unproved."""
        assert connection.principal is not None
        if login is None:
            raise Unproved("it could not prove again who it is")
        if login.principal.name != connection.principal.name:
            raise Unproved(f"it proved to be {login.principal.name!r}, who is somebody else")
        self._send(connection, AuthReasonCode.SUCCESS, data)
        self.ended(connection)
        return login

    def _ask(self, connection: Connection, data: bytes | None, *, begins: bool) -> None:
        connection.exchange = Exchange.SERVERS_TURN
        connect = connection.connect
        self._turn.authentications.append(
            Authenticate(
                connection=connection,
                username=None if connect is None else connect.username,
                password=None if connect is None else connect.password,
                client_id=connection.client_id,
                method=connection.method,
                data=data,
                begins=begins,
            )
        )

    def _send(self, connection: Connection, code: AuthReasonCode, data: bytes | None) -> None:
        # [MQTT-4.12.0-5], [MQTT-4.12.0-7]
        packet = AuthPacket(
            reason_code=code, authentication_method=connection.method, authentication_data=data
        )
        written = packet.write()
        largest = connection.maximum_packet_bytes
        if largest is not None and len(written) > largest:
            # [MQTT-3.1.2-24]
            raise Unproved(f"AUTH of {len(written)} bytes is more than it takes")
        self._turn.send(connection, written)
