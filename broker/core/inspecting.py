"""What an operator may see of the core: plain values, as of now; nothing is changed.

A value for one session costs its subscriptions and what it holds nothing: thousands of them are
made a few hundred at a time, by whoever must not keep an event loop waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from broker.core.connection import State
from broker.core.message import Message
from broker.core.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSnapshot:
    """One session, connected or not.

    Attributes:
      owner: the device or service that it belongs to.
      peer: the address it is connected from, None while it is away.
      protocol: ``5.0`` or ``3.1.1``, None while it is away.
      silent_seconds: since something was read from it, None while it is away.
      queued: messages that wait for room, or for its return.
      unacknowledged: messages sent at QoS 1 or 2 whose way isn't over.
      held_bytes: of the memory that both take, see ``QueueLimits``.
      oldest_seconds: since the oldest of both arrived at the broker, or the broker started; None
        where there is none.
    """

    client_id: str
    owner: str
    peer: str | None
    protocol: str | None
    silent_seconds: float | None
    session_expiry_seconds: int
    subscriptions: int
    queued: int
    unacknowledged: int
    held_bytes: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSnapshot:
    """One subscription of a session; ``waiting``: in its share group, for any of the members."""

    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int | None
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainedSnapshot:
    """One retained message without its payload; ``expires_seconds``: from now, None: never."""

    topic: str
    qos: int
    payload_bytes: int
    publisher: str
    expires_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All sessions together, as ``ClientSnapshot`` has them for one."""

    connected: int
    sessions: int
    subscriptions: int
    queued: int
    unacknowledged: int
    held_bytes: int


def totals(sessions: Iterable[Session]) -> Totals:
    """Counts all sessions: some 0.3 microseconds each."""
    connected = count = subscribed = queued = unacknowledged = held = 0
    for session in sessions:
        count += 1
        connected += session.connection is not None
        subscribed += len(session.subscriptions)
        queued += session.queued
        unacknowledged += len(session.unacknowledged) + len(session.resend) + len(session.released)
        held += session.held_bytes
    return Totals(
        connected=connected,
        sessions=count,
        subscriptions=subscribed,
        queued=queued,
        unacknowledged=unacknowledged,
        held_bytes=held,
    )


def client(session: Session, now: float) -> ClientSnapshot:
    """Returns what there is to see of a session."""
    connection = session.connection
    is_here = connection is not None and connection.state is State.CONNECTED
    oldest = min((message.arrived_at for message in _oldest(session)), default=None)
    return ClientSnapshot(
        client_id=session.client_id,
        owner=session.owner,
        peer=connection.peer if connection is not None and is_here else None,
        protocol=None if connection is None else "5.0" if connection.v5 else "3.1.1",
        silent_seconds=None if connection is None else now - connection.last_received,
        session_expiry_seconds=session.expiry_seconds,
        subscriptions=len(session.subscriptions),
        queued=session.queued,
        unacknowledged=len(session.unacknowledged) + len(session.resend) + len(session.released),
        held_bytes=session.held_bytes,
        oldest_seconds=None if oldest is None else now - oldest,
    )


def subscriptions(session: Session) -> list[SubscriptionSnapshot]:
    """Returns a session's subscriptions, in the order of their making."""
    return [
        SubscriptionSnapshot(
            topic_filter=text,
            qos=item.qos,
            no_local=item.no_local,
            retain_as_published=item.retain_as_published,
            identifier=item.identifier,
            waiting=session.groups[text].queued if text in session.groups else 0,
        )
        for text, item in session.subscriptions.items()
    ]


def retained(message: Message, now: float) -> RetainedSnapshot:
    """Returns what there is to see of a retained message."""
    return RetainedSnapshot(
        topic=message.topic,
        qos=message.qos,
        payload_bytes=len(message.payload),
        publisher=message.publisher,
        expires_seconds=None if message.expires_at is None else message.expires_at - now,
    )


def _oldest(session: Session) -> Iterator[Message]:
    """The first of each row, which is its oldest."""
    for held in (session.unacknowledged, session.resend):
        for outgoing in held.values():
            yield outgoing.message
            break
    if session.queue:
        yield session.queue[0].message
