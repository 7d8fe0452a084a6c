"""What a client loses is logged, but never faster than it can be read.

The first loss of a session is logged at once; while more follow, one line every
``REPORT_SECONDS`` says how many there were for each reason.
"""

from __future__ import annotations

from broker.core.actions import Notice, Turn
from broker.core.session import Session
from broker.core.timers import Timers

REPORT_SECONDS = 10.0


class Losses:
    """Turns single losses into notices, by session and reason."""

    def __init__(self, turn: Turn, timers: Timers) -> None:
        self._turn = turn
        self._timers = timers

    def note(self, session: Session, reason: str, now: float) -> None:
        """One more message was lost to this session, or refused from it, for ``reason``."""
        session.losses[reason] = session.losses.get(reason, 0) + 1
        if session.loss_timer is None:
            self._report(session, now)

    def session_ended(self, session: Session) -> None:
        """Says what was not said yet."""
        if session.loss_timer is not None:
            session.loss_timer.cancel()
        self._say(session)

    def _report(self, session: Session, now: float) -> None:
        if not session.losses:
            session.loss_timer = None
            return
        self._say(session)
        session.loss_timer = self._timers.at(
            now + REPORT_SECONDS, lambda then: self._report(session, then)
        )

    def _say(self, session: Session) -> None:
        for reason, count in session.losses.items():
            text = f"{reason}: {count} message{'s' if count > 1 else ''}"
            self._turn.notices.append(
                Notice(
                    client_id=session.client_id,
                    text=text,
                    event="messages_lost",
                    reason=reason,
                    connection=session.connection,
                    warning=True,
                )
            )
        session.losses = {}
