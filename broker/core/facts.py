"""What of the core outlives its process: plain values, out to the store and back from it.

``Changes`` is what one turn changed, ``Stored`` all that there was when the process ended. Times
are seconds of the core's clock; the store translates them to the calendar's and back.

Of messages there are so many that they are tuples here, which the store takes as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKept:
    """A session that outlives its connection.

    ``ended_at``: when its connection was lost, None while there is one. ``device``: whether its
    owner is one, which decides how much it may hold.
    """

    client_id: str
    owner: str
    device: bool
    expiry_seconds: int
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session is gone, with everything that belonged to it."""

    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A session's subscription; the one of the same filter before it is replaced."""

    client_id: str
    topic_filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int | None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A session's subscription is gone."""

    client_id: str
    topic_filter: str


@dataclass(frozen=True, slots=True)
class ReceivedIdentifier:
    """QoS 2 from a client: whether its identifier awaits PUBREL."""

    client_id: str
    packet_id: int
    waits: bool


@dataclass(frozen=True, slots=True)
class ReleasedIdentifier:
    """QoS 2 to a client: whether the identifier awaits PUBCOMP."""

    client_id: str
    packet_id: int
    waits: bool


@dataclass(frozen=True, slots=True)
class WillKept:
    """A client's will, as the bytes of a CONNECT with its owner as the user name.

    ``publish_at``: when its delay is over, None while its connection lasts.
    """

    client_id: str
    connect: bytes
    publish_at: float | None


@dataclass(frozen=True, slots=True)
class WillGone:
    """A client's will was published, or never will be."""

    client_id: str


Fact = (
    SessionKept
    | SessionEnded
    | Subscribed
    | Unsubscribed
    | ReceivedIdentifier
    | ReleasedIdentifier
    | WillKept
    | WillGone
)


MessageRow = tuple[int, bytes, str, str, float | None]
"""A message: its row, its PUBLISH in the form of 5.0, its topic (which the packet lacks where an
alias stood for it), the client identifier of its publisher, and when it expires."""

DeliveryRow = tuple[int, str, int, int, bool, str, str | None, int]
"""A message on its way to a session: its row, the session's client identifier, the message's row,
QoS, retain, subscription identifiers with spaces between them, the shared subscription that it came
by or None, and its packet identifier, 0 until it has been sent."""

WaitingRow = tuple[int, str, int]
"""A message that waits in a share group for a member with room: its row, the group's filter, and
the message's row."""


@dataclass(slots=True)
class Changes:
    """One turn's changes. ``facts`` are to be done in order, the rest in any.

    Rows are numbered by the journal: ``messages``, ``deliveries`` and ``waiting`` are new ones, in
    ascending order, ``packet_ids`` what older deliveries were sent with; a ``retained`` None clears
    its topic.
    """

    facts: list[Fact] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    messages_gone: list[int] = field(default_factory=list)
    deliveries: list[DeliveryRow] = field(default_factory=list)
    packet_ids: dict[int, int] = field(default_factory=dict)
    deliveries_gone: list[int] = field(default_factory=list)
    waiting: list[WaitingRow] = field(default_factory=list)
    waiting_gone: list[int] = field(default_factory=list)
    retained: dict[str, int | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.facts
            or self.messages
            or self.messages_gone
            or self.deliveries
            or self.packet_ids
            or self.deliveries_gone
            or self.waiting
            or self.waiting_gone
            or self.retained
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All that a store holds; rows in ascending order, which is that of their making.

    There may be millions of messages: they, their deliveries and those that wait are read from the
    store as they are taken, and once. ``highest_rows``: numbers of messages, deliveries and waiting
    ones that must not be given again, nor any below them.
    """

    sessions: Sequence[SessionKept] = ()
    subscriptions: Sequence[Subscribed] = ()
    messages: Iterable[MessageRow] = ()
    deliveries: Iterable[DeliveryRow] = ()
    waiting: Iterable[WaitingRow] = ()
    received: Sequence[ReceivedIdentifier] = ()
    released: Sequence[ReleasedIdentifier] = ()
    retained: Sequence[tuple[str, int]] = ()
    wills: Sequence[WillKept] = ()
    highest_rows: tuple[int, int, int] = (0, 0, 0)
