"""How long a client may say nothing, before CONNECT and by its keep alive, and its login holds."""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import DisconnectReasonCode

from broker.core.actions import Turn
from broker.core.connection import Connection, State
from broker.core.counters import Counters
from broker.core.timers import Timers

_KEEP_ALIVE_GRACE = 1.5
"""[MQTT-3.1.2-22]"""

CONNECT_TIMEOUT = "connect_timeout"
"""The notice's event; there may be one for each connection that anybody opens."""

EndConnection = Callable[[Connection, DisconnectReasonCode, str, float], None]


class Liveness:
    """Keeps a connection's timers; ``end`` closes one that is silent or whose login has ended."""

    def __init__(
        self,
        *,
        connect_timeout_seconds: float,
        timers: Timers,
        counters: Counters,
        turn: Turn,
        end: EndConnection,
    ) -> None:
        self._connect_timeout_seconds = connect_timeout_seconds
        self._timers = timers
        self._counters = counters
        self._turn = turn
        self._end = end

    def await_connect(self, connection: Connection, now: float) -> None:
        """The connection is new: its CONNECT must come in time."""
        connection.timer = self._timers.at(
            now + self._connect_timeout_seconds,
            lambda then: self._connect_timeout(connection, then),
        )

    def connected(self, connection: Connection) -> None:
        """CONNECT has been accepted: the keep alive counts from now on."""
        self._silence_allowed(connection)
        self._watch(connection)

    def await_answer(self, connection: Connection, now: float) -> None:
        """The client was sent a challenge: it has as much time for it as for its CONNECT."""
        connection.exchange_timer = self._timers.at(
            now + self._connect_timeout_seconds,
            lambda then: self._answer_timeout(connection, then),
        )

    def answered(self, connection: Connection) -> None:
        """The client has answered."""
        if connection.exchange_timer is not None:
            connection.exchange_timer.cancel()
            connection.exchange_timer = None

    def login_ends(self, connection: Connection, at: float | None) -> None:
        """The connection is closed then, unless its login is renewed; None: never."""
        if connection.login_timer is not None:
            connection.login_timer.cancel()
            connection.login_timer = None
        if at is not None:
            connection.login_timer = self._timers.at(
                at, lambda then: self._login_ended(connection, then)
            )

    def stop(self, connection: Connection) -> None:
        """The connection is no more."""
        self.answered(connection)
        self.login_ends(connection, None)
        self._silence_allowed(connection)

    def _silence_allowed(self, connection: Connection) -> None:
        if connection.timer is not None:
            connection.timer.cancel()
            connection.timer = None

    def _answer_timeout(self, connection: Connection, now: float) -> None:
        reason = f"no AUTH within {self._connect_timeout_seconds:g} s"
        if connection.state is not State.CONNECTED:
            self._note_timeout(connection, reason)
        self._end(connection, DisconnectReasonCode.NOT_AUTHORIZED, reason, now)

    def _login_ended(self, connection: Connection, now: float) -> None:
        reason = "the credential or token that it logged in with has expired"
        self._end(connection, DisconnectReasonCode.MAX_CONNECT_TIME, reason, now)

    def _connect_timeout(self, connection: Connection, now: float) -> None:
        if connection.state is State.AWAITING_CONNECT:
            reason = f"no CONNECT within {self._connect_timeout_seconds:g} s"
            self._note_timeout(connection, reason)
            self._end(connection, DisconnectReasonCode.MAX_CONNECT_TIME, reason, now)

    def _note_timeout(self, connection: Connection, reason: str) -> None:
        self._counters.connect_timeouts += 1
        self._turn.notice(
            connection, f"closed, {reason}", event=CONNECT_TIMEOUT, reason=reason, warning=True
        )

    def _watch(self, connection: Connection) -> None:
        if connection.keep_alive_seconds:
            deadline = connection.last_received + connection.keep_alive_seconds * _KEEP_ALIVE_GRACE
            connection.timer = self._timers.at(deadline, lambda then: self._check(connection, then))

    def _check(self, connection: Connection, now: float) -> None:
        if connection.state is not State.CONNECTED:
            return
        if not connection.is_read:
            # What it sends isn't read.
            connection.last_received = now
        silent = now - connection.last_received
        if silent < connection.keep_alive_seconds * _KEEP_ALIVE_GRACE:
            self._watch(connection)
            return
        # [MQTT-3.1.2-22]
        self._counters.keep_alive_timeouts += 1
        reason = (
            f"nothing received for {silent:.0f} s, keep alive {connection.keep_alive_seconds} s"
        )
        self._end(connection, DisconnectReasonCode.KEEP_ALIVE_TIMEOUT, reason, now)
