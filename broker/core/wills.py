"""Wills: published when a connection ends without a normal DISCONNECT [MQTT-3.1.2-8].

A will is judged when it comes, by CONNECT, and again whenever its owner may have other rights: of
those who are connected, of those who are away, and of what an earlier process has left. So what is
published is what may be published then.

The server publishes it, but for the client and in its name: the specification's "publishing
connection" is the client's. So a No Local subscription of its own session does not get it, whether
it comes at once, from the queue or as a retained message [MQTT-3.8.3-3].
"""

from __future__ import annotations

from collections.abc import Callable

from broker.auth.principal import Principal
from broker.core.actions import Notice, Turn
from broker.core.budget import Budget
from broker.core.connection import Connection
from broker.core.counters import Counters
from broker.core.journal import Journal
from broker.core.left_will import LeftWill
from broker.core.memory import will_bytes
from broker.core.message import Message
from broker.core.publishing import Publishing
from broker.core.session import Session
from broker.core.timers import Timer, Timers


class Wills:
    """Wills whose connection has ended and whose delay has not passed yet.

    ``session_of``: a client's session, if it has one by now.
    """

    def __init__(
        self,
        *,
        publishing: Publishing,
        timers: Timers,
        counters: Counters,
        journal: Journal,
        budget: Budget,
        turn: Turn,
        session_of: Callable[[str], Session | None],
    ) -> None:
        self._publishing = publishing
        self._timers = timers
        self._counters = counters
        self._journal = journal
        self._budget = budget
        self._turn = turn
        self._session_of = session_of
        self._waiting: dict[str, tuple[LeftWill, Timer]] = {}

    def connection_ended(self, client_id: str, owner: str, will: LeftWill, now: float) -> None:
        """Publishes the will once its delay has passed; ``session_ended`` may come before."""
        if not will.delay_seconds:
            self._publish(client_id, will, now)
            return
        publish_at = now + will.delay_seconds
        self._journal.will_kept(client_id, owner, will, publish_at)
        self._wait(client_id, will, publish_at)

    def connected(self, client_id: str, owner: str, will: LeftWill | None) -> None:
        """The client is connected, with this will."""
        if will is not None:
            self._journal.will_kept(client_id, owner, will, None)

    def discarded(self, client_id: str) -> None:
        """The client has disconnected normally: nothing will be published [MQTT-3.14.4-3]."""
        self._journal.will_gone(client_id)

    def restore(
        self, client_id: str, owner: str, will: LeftWill, publish_at: float | None, now: float
    ) -> None:
        """A will of an earlier process; without ``publish_at`` its connection ends now."""
        if publish_at is None:
            self.connection_ended(client_id, owner, will, now)
        else:
            self._wait(client_id, will, publish_at)

    def dropped(self, client_id: str) -> None:
        """What waits will not be published: the client is back before the delay passed
        [MQTT-3.1.3-9], or its owner is nobody any more.
        """
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            self._let_go(waiting)
            self._journal.will_gone(client_id)

    def waits(self, client_id: str) -> bool:
        """Whether the client is away and its will's delay has not passed yet."""
        return client_id in self._waiting

    def forbidden(self, client_id: str, connection: Connection | None = None) -> None:
        """The client's will, waiting or of its connection, may not be left any more."""
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            self._let_go(waiting)
        self._journal.will_gone(client_id)
        notice = Notice(
            client_id=client_id,
            text="its will is dropped: not allowed any more",
            connection=connection,
            warning=True,
        )
        self._turn.notices.append(notice)

    def suit(self, client_id: str, principal: Principal | None) -> None:
        """What waits is its owner's, who has these rights now; None: nobody's, who has none."""
        waiting = self._waiting.get(client_id)
        if waiting is not None and not may_leave(principal, waiting[0]):
            self.forbidden(client_id)

    def session_ended(self, client_id: str, now: float) -> None:
        """The session, or the will's delay, is over: publishes what waits [MQTT-3.1.2-10]."""
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            self._let_go(waiting)
            self._publish(client_id, waiting[0], now)

    def _publish(self, client_id: str, will: LeftWill, now: float) -> None:
        self._journal.will_gone(client_id)
        message = Message.of(will.publish(), will.topic, client_id, now)
        reason = self._publishing.accept(message, self._session_of(client_id), now)
        if reason < 0x80:
            self._counters.wills_published += 1
            return
        self._counters.wills_refused += 1
        why = self._publishing.why(reason)
        notice = Notice(
            client_id=client_id,
            text=f"its will to {will.topic!r} is not published: {why}",
            event="will_refused",
            reason=why,
            warning=True,
        )
        self._turn.notices.append(notice)

    def _wait(self, client_id: str, will: LeftWill, publish_at: float) -> None:
        timer = self._timers.at(publish_at, lambda then: self.session_ended(client_id, then))
        self._waiting[client_id] = (will, timer)
        self._budget.charge(will_bytes(will))

    def _let_go(self, waiting: tuple[LeftWill, Timer]) -> None:
        will, timer = waiting
        timer.cancel()
        self._budget.charge(-will_bytes(will))


def may_leave(principal: Principal | None, will: LeftWill) -> bool:
    """Whether that is a will of somebody who may leave it."""
    return principal is not None and principal.may_leave_will(will.topic)
