"""What comes of a login: a session and CONNACK, a challenge, a refusal, other rights, the end.

The shell finds out who a client is and says so here; until then no session is touched.
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import ConnAckReasonCode, DisconnectReasonCode

from broker.auth.identity import Login
from broker.auth.principal import Principal
from broker.core.actions import Notice, Turn
from broker.core.authenticating import Authenticating, Unproved
from broker.core.connection import REMOVED, Connection, Exchange, State
from broker.core.counters import Counters
from broker.core.ending import Ending
from broker.core.handshake import Handshake, Refused
from broker.core.liveness import Liveness
from broker.core.memory import Memory
from broker.core.pacing import Pacing
from broker.core.session import Session
from broker.core.sessions import Sessions
from broker.core.subscribing import Subscribing
from broker.core.wills import Wills, may_leave


class Admitting:
    """Lets clients in, or not.

    ``send_all_again``: to a session that is resumed; ``go_on``: with what a client sent before it
    was answered.
    """

    def __init__(
        self,
        *,
        turn: Turn,
        counters: Counters,
        handshake: Handshake,
        authenticating: Authenticating,
        liveness: Liveness,
        pacing: Pacing,
        memory: Memory,
        ending: Ending,
        sessions: Sessions,
        subscribing: Subscribing,
        wills: Wills,
        send_all_again: Callable[[Session, float], None],
        go_on: Callable[[Connection, float], None],
    ) -> None:
        self._turn = turn
        self._counters = counters
        self._handshake = handshake
        self._authenticating = authenticating
        self._liveness = liveness
        self._pacing = pacing
        self._memory = memory
        self._ending = ending
        self._sessions = sessions
        self._subscribing = subscribing
        self._wills = wills
        self._send_all_again = send_all_again
        self._go_on = go_on

    def authenticated(
        self,
        connection: Connection,
        login: Login | None,
        now: float,
        *,
        until: float | None = None,
        data: bytes | None = None,
        why: str = "",
    ) -> None:
        """The answer to ``Authenticate``: what was proved, or None where nothing was.

        ``until``: when the login ends, by the clock of ``now``. ``data``: what an exchange ends
        with; the client may check it. ``why``: why nothing was, for the log alone.
        """
        if connection.exchange is not Exchange.SERVERS_TURN:
            return
        if connection.state is State.CONNECTED:
            self._authenticated_again(connection, login, now, until=until, data=data, why=why)
            return
        packet = connection.connect
        assert packet is not None
        try:
            if login is None:
                # The same answer whether the user is unknown or the password wrong.
                raise Refused(
                    ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD
                    if packet.authentication_method is None
                    else ConnAckReasonCode.NOT_AUTHORIZED,
                    "user name or password is wrong",
                    why=why,
                )
            principal = login.principal
            earlier = self._handshake.admit(connection, principal, data=data)
            if earlier is not None and earlier.connection is not None:
                self._take_over(earlier, earlier.connection, now)
            session = self._handshake.complete(connection, login, now, data=data)
        except Refused as refusal:
            self._ending.refuse(connection, refusal, now)
            return
        self._counters.connections_accepted += 1
        self._authenticating.ended(connection)
        self._liveness.connected(connection)
        self._liveness.login_ends(connection, until)
        version = "5.0" if connection.v5 else "3.1.1"
        self._turn.notice(
            connection, f"connected from {connection.peer} (MQTT {version})", event="connected"
        )
        self._send_all_again(session, now)
        self._pacing.connected(connection, now)
        self._memory.connected(connection)
        self._go_on(connection, now)

    def challenged(self, connection: Connection, data: bytes, now: float) -> None:
        """The answer to ``Authenticate``: the client must prove more [MQTT-4.12.0-2]."""
        if connection.exchange is not Exchange.SERVERS_TURN:
            return
        try:
            self._authenticating.challenge(connection, data, now)
        except Unproved as error:
            self._ending.unproved(connection, error, now)
            return
        if connection.state is State.CHALLENGED:
            self._go_on(connection, now)

    def postponed(self, connection: Connection, now: float, reason: str) -> None:
        """The shell does not find out now: the client may come again later."""
        if connection.exchange is not Exchange.SERVERS_TURN:
            return
        if connection.state is State.CONNECTED:
            self._ending.close(connection, DisconnectReasonCode.SERVER_BUSY, reason, now)
        else:
            refusal = Refused(ConnAckReasonCode.SERVER_BUSY, reason)
            self._ending.refuse(connection, refusal, now)

    def permit(
        self, connection: Connection, login: Login, now: float, *, until: float | None
    ) -> None:
        """A connected client is somebody with other rights from now on; ``until``: as at its login.

        What it may not have any more ends: a will, the connection where not even its client
        identifier is its own. Its subscriptions sleep.
        """
        session = connection.session
        if session is None:
            return
        principal = login.principal
        self._suit_will(connection, principal)
        if principal.own_client_id(connection.client_id) != connection.client_id:
            words = "its client identifier is not its own any more"
            self.expel(connection, words, principal=principal)
            self.tell_expelled(connection, now)
            return
        connection.login = login
        connection.principal = principal
        self._memory.forget_rights(connection)
        self._subscribing.suit(session, principal, now)
        self._liveness.login_ends(connection, until)

    def rests_on_rights(self, session: Session) -> bool:
        """Whether ``suit_away`` may change anything of a session whose client is away."""
        if session.subscriptions or session.asleep:
            return True
        return self._wills.waits(session.client_id)

    def suit_away(self, session: Session, principal: Principal | None, now: float) -> None:
        """The same of a session whose client is away; None: it is nobody's, who has no rights."""
        if session.connection is not None:
            return
        self._wills.suit(session.client_id, principal)
        if principal is not None:
            self._subscribing.suit(session, principal, now)

    def expel(self, connection: Connection, reason: str, *, principal: Principal | None) -> None:
        """A client that was let in must go: what it proved proves nothing any more.

        Takes two microseconds, and holds at once: what it sends is not handled, and what it would
        be sent waits as if it were away. ``tell_expelled`` follows in its time. ``principal``: who
        it is by now, and may leave the will or not; None, with REMOVED: nobody, who may not.
        """
        session = connection.session
        if connection.state is not State.CONNECTED or session is None:
            return
        self._suit_will(connection, principal)
        connection.state = State.EXPELLED
        connection.expelled = reason
        # Whatever it was about to prove.
        self._liveness.answered(connection)
        self._authenticating.ended(connection)
        session.window = 0

    def tell_expelled(self, connection: Connection, now: float) -> None:
        """Ends the connection of one that was expelled (DISCONNECT 0x87), unless it has ended."""
        if connection.state is State.EXPELLED:
            code = DisconnectReasonCode.NOT_AUTHORIZED
            self._ending.close(connection, code, connection.expelled, now)

    def end_session_of_removed(self, session: Session, now: float) -> None:
        """A session ends whose client is away, and nobody any more; no will of its is published.

        Who comes by that name later is somebody else.
        """
        self._wills.dropped(session.client_id)
        self._sessions.end(session, now)
        notice = Notice(
            client_id=session.client_id,
            text=f"its session ended: {REMOVED}",
            event="session_removed",
            reason=REMOVED,
            warning=True,
        )
        self._turn.notices.append(notice)

    def _suit_will(self, connection: Connection, principal: Principal | None) -> None:
        if connection.will is not None and not may_leave(principal, connection.will):
            connection.will = None
            self._wills.forbidden(connection.client_id, connection)

    def _take_over(self, session: Session, connection: Connection, now: float) -> None:
        self._ending.taken_over(connection, now)
        is_left = self._sessions.get(session.client_id) is session
        if connection.expelled == REMOVED and is_left:
            # It was somebody else's.
            self.end_session_of_removed(session, now)

    def _authenticated_again(
        self,
        connection: Connection,
        login: Login | None,
        now: float,
        *,
        until: float | None,
        data: bytes | None,
        why: str,
    ) -> None:
        try:
            renewed = self._authenticating.renew(connection, login, data)
        except Unproved as error:
            error.why = why
            self._ending.unproved(connection, error, now)
            return
        self.permit(connection, renewed, now, until=until)
