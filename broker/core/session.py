"""Session state [MQTT-4.1.0-1]: what outlives a connection.

A session's subscriptions, the messages on their way to its client and the identifiers of QoS 2
messages on their way from it. What the connection alone knows stands in ``connection``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from broker.core.budget import Budget
from broker.core.limits import QueueLimits
from broker.core.message import Message
from broker.core.timers import Timer

if TYPE_CHECKING:
    from broker.core.connection import Connection
    from broker.core.sharing import ShareGroup
    from broker.core.subscriptions import Subscription

HIGHEST_PACKET_ID = 65_535


class Outgoing:
    """One message on its way to one session: at which QoS, with which flags and identifiers.

    The journal's are ``row``, its row in the store, or 0, and what goes there with it:
    ``client_id`` and ``packet_id``.
    """

    __slots__ = (
        "client_id",
        "group",
        "message",
        "packet_id",
        "qos",
        "retain",
        "row",
        "subscription_ids",
    )

    def __init__(
        self,
        message: Message,
        qos: int,
        retain: bool,
        subscription_ids: tuple[int, ...],
        group: ShareGroup | None,
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.subscription_ids = subscription_ids
        self.group = group
        self.row = 0
        self.client_id = ""
        self.packet_id = 0


GIVEN_UP = Message("", b"", 0, 0)
"""In the place of a message that was given up while it waited."""


class Session:
    """State kept for one client identifier.

    ``asleep``: subscriptions that its owner may not have now; they get nothing.
    ``unacknowledged``: PUBLISH sent on this connection, by packet identifier, in order of sending.
    ``resend``: PUBLISH sent on an earlier connection and not yet again on this one.
    ``released``: QoS 2, PUBREC received and PUBREL sent, waiting for PUBCOMP.
    ``queue``: not sent yet, in order. ``queue_0``: those of QoS 0 in it, which are given up before
    others: such a one stays in its place as ``GIVEN_UP``, but never at the front. ``given_up``: how
    many did. ``held_bytes``: of all of these but ``released``.
    ``received``: QoS 2 identifiers of the client's own messages between PUBLISH and PUBREL.
    ``losses``: messages that were lost, by reason, and not yet logged.
    ``device``: whether its owner is one. ``stored``: whether its changes go to the store.
    ``window``: how many identifiers may be in use towards the client at once; 0: it was expelled,
    and nothing at all is sent to it any more.
    """

    __slots__ = (
        "asleep",
        "budget",
        "client_id",
        "connection",
        "device",
        "expiry_seconds",
        "expiry_timer",
        "given_up",
        "groups",
        "held_bytes",
        "last_packet_id",
        "limits",
        "loss_timer",
        "losses",
        "owner",
        "queue",
        "queue_0",
        "received",
        "released",
        "resend",
        "stored",
        "subscriptions",
        "unacknowledged",
        "window",
    )

    def __init__(
        self, client_id: str, owner: str, limits: QueueLimits, budget: Budget, *, device: bool
    ) -> None:
        self.client_id = client_id
        self.owner = owner
        self.limits = limits
        self.budget = budget
        self.device = device
        self.stored = False
        self.connection: Connection | None = None
        self.expiry_seconds = 0
        self.expiry_timer: Timer | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.asleep: dict[str, Subscription] = {}
        self.groups: dict[str, ShareGroup] = {}
        self.unacknowledged: dict[int, Outgoing] = {}
        self.resend: dict[int, Outgoing] = {}
        self.released: dict[int, None] = {}
        self.queue: deque[Outgoing] = deque()
        self.queue_0: deque[Outgoing] = deque()
        self.given_up = 0
        self.held_bytes = 0
        self.received: set[int] = set()
        self.last_packet_id = 0
        self.window = HIGHEST_PACKET_ID
        self.losses: dict[str, int] = {}
        self.loss_timer: Timer | None = None

    def hold(self, message: Message) -> None:
        """One more message waits, or is unacknowledged."""
        self.held_bytes += message.size
        self.budget.hold(message)

    def let_go(self, message: Message) -> None:
        """It does no longer."""
        self.held_bytes -= message.size
        self.budget.let_go(message)

    def take_packet_id(self) -> int:
        """The next identifier that is not in use [MQTT-2.2.1-4].

        There is one: ``window`` is smaller than their number, and nothing new is sent while
        identifiers in ``resend`` wait.
        """
        packet_id = self.last_packet_id
        while True:
            packet_id = packet_id + 1 if packet_id < HIGHEST_PACKET_ID else 1
            if packet_id not in self.unacknowledged and packet_id not in self.released:
                self.last_packet_id = packet_id
                return packet_id

    @property
    def queued(self) -> int:
        """Messages that were not sent yet."""
        return len(self.queue) - self.given_up

    def queue_up(self, outgoing: Outgoing) -> None:
        """One more waits."""
        self.queue.append(outgoing)
        if not outgoing.qos:
            self.queue_0.append(outgoing)
        self.hold(outgoing.message)

    def take_first(self) -> Outgoing:
        """Takes out what has waited longest."""
        outgoing = self.queue.popleft()
        if not outgoing.qos:
            self.queue_0.popleft()
        self._clear_front()
        self.let_go(outgoing.message)
        return outgoing

    def give_up_0(self) -> None:
        """The message of QoS 0 that has waited longest waits no longer."""
        outgoing = self.queue_0.popleft()
        self.let_go(outgoing.message)
        outgoing.message = GIVEN_UP
        self.given_up += 1
        self._clear_front()

    def _clear_front(self) -> None:
        while self.queue and self.queue[0].message is GIVEN_UP:
            self.queue.popleft()
            self.given_up -= 1

    def may_send(self, write_buffer_bytes: int) -> bool:
        """Whether one more of what it holds may be sent now."""
        connection = self.connection
        return (
            connection is not None
            and len(self.unacknowledged) + len(self.released) < self.window
            and connection.buffered_bytes < write_buffer_bytes
        )

    def may_send_0(self, write_buffer_bytes: int) -> bool:
        """The same of QoS 0 that waits for nothing: Receive Maximum is about QoS 1 and 2."""
        connection = self.connection
        return (
            connection is not None
            and self.window > 0
            and connection.buffered_bytes < write_buffer_bytes
        )

    def has_room(self, write_buffer_bytes: int) -> bool:
        """Whether a message that it does not hold yet may be sent now."""
        return self.held_bytes < self.limits.bytes and self.may_send(write_buffer_bytes)

    def load(self) -> int:
        """How much is on its way to the client: messages first, then bytes that are unwritten."""
        unwritten = 0 if self.connection is None else self.connection.buffered_bytes
        return (len(self.unacknowledged) + len(self.released) << 32) + unwritten

    def has_backlog(self) -> bool:
        """Whether something waits that could be sent as soon as there is room."""
        if self.queue or self.resend:
            return True
        return any(group.queued for group in self.groups.values())

    def connection_ended(self) -> None:
        """[MQTT-4.4.0-1]: what is unacknowledged is sent again on the next connection.

        QoS 0 messages that still waited end with the connection that they were waiting for.
        """
        self.connection = None
        # Nothing new is sent while something is to be sent again, so what went out on this
        # connection comes before what is left over from an earlier one [MQTT-4.6.0-1].
        self.resend = self.unacknowledged | self.resend
        self.unacknowledged = {}
        for outgoing in self.queue_0:
            self.let_go(outgoing.message)
        if self.queue_0 or self.given_up:
            self.queue = deque(outgoing for outgoing in self.queue if outgoing.qos)
            self.queue_0.clear()
            self.given_up = 0
