"""A network connection as the core sees it, and which packets each of its states takes."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from mqtt5 import (
    AuthPacket,
    ConnectPacket,
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PubAckPacket,
    PubCompPacket,
    PubRecPacket,
    PubRelPacket,
    SubscribePacket,
    UnsubscribePacket,
)

from broker.auth.identity import Login
from broker.auth.principal import Principal
from broker.core.aliases import SentAliases
from broker.core.left_will import LeftWill
from broker.core.message import Message
from broker.core.timers import Timer
from mqtt.codec import Decoder, ProtocolVersion
from mqtt.plain import FullPublish

if TYPE_CHECKING:
    from broker.core.pacing import Pace
    from broker.core.session import Session
    from broker.core.stalling import HeldBack

Received = Packet | FullPublish | Message
"""What is read from a client: of PUBLISH, most are a message at once."""

_NOTHING: frozenset[type[Received]] = frozenset()

REMOVED = "it was removed from the registry"
"""Why somebody is expelled who is nobody any more."""


class State(enum.Enum):
    """Where a connection stands, and the packets that it takes there."""

    # [MQTT-3.1.0-1]: the first packet is CONNECT.
    AWAITING_CONNECT = ("awaiting CONNECT", frozenset({ConnectPacket}))
    # [MQTT-3.1.4-6] lets a client send on before CONNACK; nothing is looked at until then.
    AUTHENTICATING = ("authenticating", _NOTHING)
    # [MQTT-3.1.2-30]: who asked for an exchange sends nothing else before CONNACK.
    CHALLENGED = ("being authenticated", frozenset({AuthPacket, DisconnectPacket}))
    # [MQTT-3.1.0-2]: a second CONNECT is not among them.
    CONNECTED = (
        "connected",
        frozenset(
            {
                Message,
                FullPublish,
                PubAckPacket,
                PubRecPacket,
                PubRelPacket,
                PubCompPacket,
                SubscribePacket,
                UnsubscribePacket,
                PingReqPacket,
                DisconnectPacket,
                AuthPacket,
            }
        ),
    )
    # It has no right to be here any more: its end is decided, and still to be told.
    EXPELLED = ("expelled", _NOTHING)
    CLOSED = ("closed", _NOTHING)

    def __init__(self, label: str, takes: frozenset[type[Received]]) -> None:
        self.label = label
        self.takes = takes


class Leaves(enum.Enum):
    """When the ``out`` of a connection is written; see ``broker.core.actions``."""

    NOTHING = enum.auto()
    EARLY = enum.auto()
    AFTER_THE_COMMIT = enum.auto()


class Exchange(enum.Enum):
    """Whose turn it is in an enhanced authentication, before CONNACK or again behind it (4.12)."""

    NONE = enum.auto()
    SERVERS_TURN = enum.auto()
    CLIENTS_TURN = enum.auto()


class Connection:
    """One client's connection.

    ``out`` gathers the bytes to write in this turn, and they go as ``leaves`` says;
    ``leaving_bytes`` are those of a turn that was taken, and is not written yet; ``buffered_bytes``
    counts both and those that the transport still holds. ``permitted`` remembers topics that this
    client was found to be allowed to publish to, or not. ``aliases``: topic aliases that the client
    set; ``sent_aliases``: those that it was given, or None. ``pubacks``: identifiers of PUBACKs
    that stood in a row at the end of what was read. ``stalled``: what is held back of a client of
    3.1.1 because all that may wait does; ``slowed``: it is not read from because of its ``pace``,
    which it has where its rate is limited. ``timer``: for its CONNECT, then for its keep alive. The
    shell may keep what it needs in ``transport``. ``connect``: its CONNECT until that is accepted.
    ``method``: of its enhanced authentication. ``login``: what was proved. ``expelled``: why it
    must go, once it must. ``exchange_timer``: for the client's part of an ``exchange``;
    ``login_timer``: for the login's end. ``held``: packets that wait for the login,
    ``unhandled_bytes``: those of the reads that they came by. ``charged_bytes``,
    ``charged_buffers``: what the budget counts for it. ``filters``: topic filters of SUBSCRIBE and
    UNSUBSCRIBE that it sent at ``filters_at``.
    """

    __slots__ = (
        "aliases",
        "buffered_bytes",
        "charged_buffers",
        "charged_bytes",
        "client_id",
        "connect",
        "declines_reasons",
        "decoder",
        "exchange",
        "exchange_timer",
        "expelled",
        "filters",
        "filters_at",
        "held",
        "keep_alive_seconds",
        "last_received",
        "leaves",
        "leaving_bytes",
        "login",
        "login_timer",
        "maximum_packet_bytes",
        "method",
        "out",
        "pace",
        "peer",
        "permitted",
        "principal",
        "pubacks",
        "sent_aliases",
        "session",
        "slowed",
        "stalled",
        "state",
        "timer",
        "transport",
        "unhandled_bytes",
        "v5",
        "will",
    )

    def __init__(self, *, peer: str, decoder: Decoder[FullPublish | Message], now: float) -> None:
        self.peer = peer
        self.decoder = decoder
        self.state = State.AWAITING_CONNECT
        self.transport: object = None
        self.out: list[bytes] = []
        self.buffered_bytes = 0
        self.leaving_bytes = 0
        self.unhandled_bytes = 0
        self.charged_bytes = 0
        self.charged_buffers = 0
        self.leaves = Leaves.NOTHING
        self.last_received = now
        self.keep_alive_seconds = 0
        self.filters = 0
        self.filters_at = now
        self.connect: ConnectPacket | None = None
        self.held: list[Received] = []
        self.pubacks: list[int] = []
        self.stalled: HeldBack | None = None
        self.slowed = False
        self.pace: Pace | None = None
        self.method: str | None = None
        self.exchange = Exchange.NONE
        self.exchange_timer: Timer | None = None
        self.login: Login | None = None
        self.expelled = ""
        self.login_timer: Timer | None = None
        self.principal: Principal | None = None
        self.session: Session | None = None
        self.client_id = ""
        self.v5 = False
        self.will: LeftWill | None = None
        self.maximum_packet_bytes: int | None = None
        self.declines_reasons = False
        self.aliases: dict[int, str] = {}
        self.sent_aliases: SentAliases | None = None
        self.permitted: dict[str, bool] = {}
        self.timer: Timer | None = None

    @property
    def protocol(self) -> ProtocolVersion:
        """The version that this client speaks; known once its CONNECT was read."""
        assert self.decoder.protocol is not None
        return self.decoder.protocol

    @property
    def is_read(self) -> bool:
        """Whether what the client sends is to be read now."""
        return not self.slowed and (self.stalled is None or self.stalled.is_read)

    @property
    def is_owed(self) -> bool:
        """Whether messages wait for the client, or for its acknowledgement."""
        return self.session is not None and self.session.held_bytes > 0

    def take_out(self) -> bytes:
        """The bytes that are to leave now."""
        data = self.out[0] if len(self.out) == 1 else b"".join(self.out)
        self.out.clear()
        self.leaves = Leaves.NOTHING
        self.leaving_bytes += len(data)
        return data
