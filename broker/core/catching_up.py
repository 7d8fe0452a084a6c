"""What is retained, for new subscriptions [MQTT-3.3.1-9]: a slice at a time.

A filter may match all that is retained, and a client may subscribe to it again and again: so
between two slices others are served, and what a slice may cost is shared by all who subscribe. A
device gets no more in the long run than it may send, see ``broker.core.pacing``.

::

    SUBSCRIBE ─> begin ─> go_on: one slice, in what is left of this one
                            └─ PAUSE_SECONDS ─> the next slice, of one session after the other

A client gets what was retained when it subscribed. What has come since is sent to it as to every
subscriber, and left out here, so that nothing older follows something newer. A subscription that is
made anew replaces the one before [MQTT-3.8.4-3] and so begins anew. While the client is away its
messages are queued, as others are. What a slice has brought is stored as all is; a crash ends the
walk itself, and who is not sure to have everything subscribes anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.core.budget import Budget
from broker.core.delivery import Delivery
from broker.core.message import Message
from broker.core.pacing import Pace
from broker.core.retained import Retained
from broker.core.session import Outgoing, Session
from broker.core.subscriptions import Subscription
from broker.core.timers import Timer, Timers

SLICE_MESSAGES = 500
"""Take some 2 ms."""

PAUSE_SECONDS = 0.003
"""From the beginning of a slice to that of the next."""

_LOOKS_OF_A_MESSAGE = 10
"""Levels of the tree that can be looked at in the time that a message takes."""

_CHILD_BYTES = 8
"""Of each level that a walk has yet to look at; no more of them than messages are retained."""


class _Walk:
    """Through the tree, for one subscription; ``before``: what counts as retained."""

    __slots__ = ("before", "charged_bytes", "steps")

    def __init__(self, before: int) -> None:
        self.before = before
        self.steps: Iterator[Message | None] | None = None
        self.charged_bytes = 0


class CatchingUp:
    """Knows who is still to get what was retained."""

    def __init__(
        self, *, retained: Retained, delivery: Delivery, timers: Timers, budget: Budget
    ) -> None:
        self._retained = retained
        self._delivery = delivery
        self._timers = timers
        self._budget = budget
        self._walks: dict[Session, dict[str, _Walk]] = {}
        # In whose turn it is.
        self._ready: dict[Session, None] = {}
        self._paced: dict[Session, Timer] = {}
        self._timer: Timer | None = None
        self._began_at = float("-inf")
        self._looks_left = 0

    def begin(self, subscription: Subscription) -> None:
        """A subscription is to get what its filter matches; ``go_on`` follows."""
        session = subscription.session
        text = str(subscription.topic_filter)
        walks = self._walks.setdefault(session, {})
        self._end(walks, text)
        walks[text] = _Walk(self._retained.serial)
        if session not in self._paced:
            self._ready[session] = None

    def go_on(self, now: float) -> None:
        """Sends what may be sent now, and sees to it that the rest follows."""
        if now >= self._began_at + PAUSE_SECONDS:
            self._began_at = now
            self._looks_left = SLICE_MESSAGES * _LOOKS_OF_A_MESSAGE
        while self._ready and self._looks_left > 0:
            session = next(iter(self._ready))
            del self._ready[session]
            if session in self._walks:
                self._serve(session, now)
        if self._ready and self._timer is None:
            self._timer = self._timers.at(self._began_at + PAUSE_SECONDS, self._next)

    def forget(self, session: Session) -> None:
        """The session has ended."""
        walks = self._walks.pop(session, {})
        for text in list(walks):
            self._end(walks, text)
        self._ready.pop(session, None)
        timer = self._paced.pop(session, None)
        if timer is not None:
            timer.cancel()

    def _next(self, now: float) -> None:
        self._timer = None
        self.go_on(now)

    def _serve(self, session: Session, now: float) -> None:
        """One session's part of the slice; then it is another's turn."""
        pace = None if session.connection is None else session.connection.pace
        if pace is not None and pace.retained_until > now:
            self._wait(session, pace)
            return
        walks, had = self._walks[session], self._looks_left
        while walks and self._looks_left > 0:
            text = next(iter(walks))
            subscription = session.subscriptions.get(text)
            if subscription is None or self._is_done(subscription, walks[text], now):
                self._end(walks, text)
        if pace is not None:
            pace.bring((had - self._looks_left) // _LOOKS_OF_A_MESSAGE, now)
        if walks:
            self._ready[session] = None
        else:
            del self._walks[session]

    def _wait(self, session: Session, pace: Pace) -> None:
        def paid(now: float) -> None:
            del self._paced[session]
            self._ready[session] = None
            self.go_on(now)

        self._paced[session] = self._timers.at(pace.retained_until, paid)

    def _is_done(self, subscription: Subscription, walk: _Walk, now: float) -> bool:
        """Goes on until the slice is over. Returns whether nothing is left."""
        if walk.steps is None:
            walk.steps = self._retained.steps(subscription.topic_filter, walk.before)
            walk.charged_bytes = _CHILD_BYTES * self._retained.messages
            self._budget.charge(walk.charged_bytes)
        session = subscription.session
        ids = () if subscription.identifier is None else (subscription.identifier,)
        for message in walk.steps:
            self._looks_left -= 1
            if message is not None:
                if message.expired(now):
                    self._retained.clear(message.topic)
                elif not (subscription.no_local and message.publisher == session.client_id):
                    self._looks_left -= _LOOKS_OF_A_MESSAGE - 1
                    qos = min(message.qos, subscription.qos)
                    # [MQTT-3.3.1-8]: marked as retained, whatever Retain As Published says.
                    self._delivery.deliver(session, Outgoing(message, qos, True, ids, None), now)
            if self._looks_left <= 0:
                return False
        return True

    def _end(self, walks: dict[str, _Walk], text: str) -> None:
        walk = walks.pop(text, None)
        if walk is not None:
            self._budget.charge(-walk.charged_bytes)
