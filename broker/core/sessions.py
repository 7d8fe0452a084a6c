"""All sessions by client identifier: opened, resumed, ended when they expire."""

from __future__ import annotations

from collections.abc import Iterator

from broker.auth.principal import Principal, PrincipalKind
from broker.core.budget import Budget
from broker.core.connection import Connection
from broker.core.facts import SessionKept
from broker.core.journal import Journal
from broker.core.limits import NEVER, Limits, QueueLimits
from broker.core.memory import RECEIVED_BYTES, session_bytes
from broker.core.session import Session
from broker.core.subscribing import Subscribing
from broker.core.timers import Timers
from broker.core.wills import Wills


class Sessions:
    """Session state lives here from CONNECT until its expiry interval has passed unused."""

    def __init__(
        self,
        *,
        limits: Limits,
        subscribing: Subscribing,
        wills: Wills,
        timers: Timers,
        journal: Journal,
        budget: Budget,
    ) -> None:
        self.limits = limits
        self._budget = budget
        self._subscribing = subscribing
        self._wills = wills
        self._timers = timers
        self._journal = journal
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def get(self, client_id: str) -> Session | None:
        """The session of a client identifier, connected or not."""
        return self._sessions.get(client_id)

    def open(
        self, connection: Connection, principal: Principal, *, clean_start: bool, now: float
    ) -> tuple[Session, bool]:
        """Resumes or begins a session. Returns it and whether it was there (Session Present).

        An earlier connection of the session must have been detached before.
        """
        session = self._sessions.get(connection.client_id)
        if session is not None and clean_start:
            # [MQTT-3.1.2-4]
            self.end(session, now)
            session = None
        present = session is not None
        if session is None:
            # [MQTT-3.1.2-6]
            device = principal.kind is PrincipalKind.DEVICE
            session = self._new(connection.client_id, principal.name, device=device)
        else:
            if session.expiry_timer is not None:
                session.expiry_timer.cancel()
                session.expiry_timer = None
            self._subscribing.suit(session, principal, now)
        self._wills.dropped(connection.client_id)
        session.connection = connection
        for group in session.groups.values():
            group.came(session)
        return session, present

    def connection_ended(self, session: Session) -> None:
        """Nothing more is sent to the session's client; ``detach`` follows."""
        session.connection_ended()
        for group in session.groups.values():
            group.went(session)

    def detach(self, session: Session, now: float) -> None:
        """The connection is gone: the session ends now or when its expiry interval has passed."""
        if session.expiry_seconds == 0:
            self.end(session, now)
            return
        self._journal.session_kept(session, now)
        self._expire(session, now)

    def restore(self, kept: SessionKept, now: float) -> Session:
        """A session of an earlier process, without subscriptions and messages yet."""
        session = self._new(kept.client_id, kept.owner, device=kept.device)
        session.expiry_seconds = kept.expiry_seconds
        session.stored = True
        if kept.ended_at is not None:
            self._expire(session, kept.ended_at)
        return session

    def end(self, session: Session, now: float) -> None:
        """Forgets the session; a will that still waits is published [MQTT-3.1.2-10]."""
        del self._sessions[session.client_id]
        given_back = session_bytes(session.client_id) + RECEIVED_BYTES * len(session.received)
        self._budget.charge(-given_back)
        if session.expiry_timer is not None:
            session.expiry_timer.cancel()
        self._subscribing.end(session, now)
        self._journal.session_ended(session)
        self._wills.session_ended(session.client_id, now)

    def limits_changed(self) -> None:
        """Sessions that are there may hold what new ones may. What is too much now stays."""
        for session in self:
            session.limits = self._queue_of(device=session.device)
        for group in {group for session in self for group in session.groups.values()}:
            group.reckon_bound()

    def _new(self, client_id: str, owner: str, *, device: bool) -> Session:
        queue = self._queue_of(device=device)
        self._budget.charge(session_bytes(client_id))
        session = self._sessions[client_id] = Session(
            client_id, owner, queue, self._budget, device=device
        )
        return session

    def _queue_of(self, *, device: bool) -> QueueLimits:
        return self.limits.device_queue if device else self.limits.service_queue

    def _expire(self, session: Session, ended_at: float) -> None:
        if session.expiry_seconds != NEVER:
            # [MQTT-3.1.2-23]
            session.expiry_timer = self._timers.at(
                ended_at + session.expiry_seconds, lambda then: self.end(session, then)
            )
