"""Bounds that the broker keeps, so that no client can cost more than was agreed on.

All are checked when the value is built; sizes are in bytes, times in seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields, replace

from mqtt.codec import LARGEST_PACKET_BYTES
from mqtt.topics import TopicFilter

NEVER = 0xFFFFFFFF
"""Session expiry interval that means: never [MQTT-3.1.2-23]."""

KIB, MIB, GIB = 1024, 1024**2, 1024**3

HIGHEST = 2**50
"""Of what has no bound of its own: more than any machine holds, and no number of a system's own
overflows.
"""
LONGEST_SECONDS = 86_400
"""Of a limit in seconds that has no bound of its own."""
MOST_CONNECTIONS = 10_000_000

_FILTERS_OF_A_PACKET = 1_000
"""Take some 10 ms. A client may ask for more than it gets, and is told by the filter."""


class QueueFull(enum.Enum):
    """Which message goes when a session's queue is full. QoS 0 never displaces another message."""

    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What one session may hold for its client: queued messages, and bytes queued or in flight.

    Bytes are those of memory: payload, topic and properties, and some 600 a message beside them.

    The bytes may be passed by one message, so that one larger than all of them still arrives.
    """

    messages: int
    bytes: int

    def __post_init__(self) -> None:
        _check("messages", self.messages, 1, HIGHEST)
        _check("bytes", self.bytes, 1, HIGHEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a whole server.

    Attributes:
      connections: open connections, whether their CONNECT was accepted or not. Who was told to go
        and is still there gives way where one more comes.
      connections_per_address: the same from one address, of IPv6 from one network of 64 bits; this
        machine's own are not counted.
      connect_timeout_seconds: from accepting a connection to its CONNECT, TLS included; the same
        again for each answer of an enhanced authentication. At most 86400.
      pending_authentications: logins waiting to be verified; those from addresses that have most
        of them waiting are told to come later.
      failed_logins_per_device: so many at once, from one address under one name, and then one more
        each time that a share of ``failed_logins_seconds`` has gone by (10 in 60 s: one each 6 s);
        beyond that logins are refused without a look. So in the first ``failed_logins_seconds``
        nearly twice as many may fail. From other addresses the device itself still gets in.
      failed_logins_per_address: the same of passwords, under whatever names: then only those who
        have logged in since the start by the same password do so from there, or by a token or
        certificate, which can't be guessed.
      failed_logins_seconds: after how long without a failed login as many may fail at once again;
        at most 86400.
      connect_packet_bytes: the largest packet that is taken before a client is authenticated: a
        CONNECT with its will. A will may bear up to 65,535 bytes: where one bears more than some
        60,000, set this to 131072.
      client_id_bytes: the longest client identifier, in UTF-8; a longer one is refused (0x85). At
        least the 23 that each server takes.
      maximum_packet_bytes: the largest packet that is taken (CONNACK: Maximum Packet Size).
      receive_maximum: QoS 1 and 2 messages that a client may have unacknowledged.
      in_flight_messages: the same towards a client, where its own Receive Maximum is not lower.
      topic_alias_maximum: topic aliases that a client may set; 0 forbids them.
      sent_topic_aliases: the same towards a client, where its own Topic Alias Maximum is not lower;
        0 sets none.
      device_messages_per_second, device_bytes_per_second: what a device may send in the long run,
        whatever connections it has had; a gateway's is all that it sends for others. Messages are
        all packets but PUBACK, and of SUBSCRIBE and UNSUBSCRIBE each topic filter. Above it nothing
        is lost: the broker reads on when there is room. Retained messages come no faster to who
        subscribes. None: as much as it likes.
      service_messages_per_second, service_bytes_per_second: the same for all connections of a
        service together.
      rate_burst_seconds: how long of each rate may be sent at once by who was silent before; at
        most 86400.
      write_buffer_bytes: bytes written to a connection and not yet taken by the system; beyond it
        messages wait in the session's queue.
      server_keep_alive_seconds: the longest keep alive; None leaves it to the client, 0 included.
      session_expiry_seconds: the longest time that a session outlives its connection; 3.1.1's
        sessions without ``clean session`` get it too. 4294967295 is for ever.
      topic_levels: levels of a topic name or filter; each costs a node in the trees of
        subscriptions and retained messages.
      subscriptions_per_session: topic filters of one session; more are refused one by one (SUBACK:
        0x97, to 3.1.1 0x80). A SUBSCRIBE or UNSUBSCRIBE of more than as many, and more than 1,000,
        ends its connection (DISCONNECT: 0x97), as does a packet of more than 1,000 properties. Ten
        times as many filters at once end it, too (0x96).
      retained_messages, retained_bytes: retained messages in all.
      device_queue, service_queue: what a session may hold, by the kind of its owner. A pipeline's
        session must last while its sink is away, a device's commands are few.
      queued_bytes: what waits for clients or is unacknowledged in all, each message counted once.
        Beyond it publishes are refused (0x97), and those of clients of 3.1.1 wait.
      memory_bytes: what clients may cost in all: what waits for them, retained messages, sessions,
        subscriptions, connections and what is buffered for each. Beyond it publishes are refused as
        by ``queued_bytes``, and so are new sessions, new subscriptions and what would be retained;
        who is connected, or comes back, stays. None: half of the memory that the machine has or
        the process may have (its control group's).
      queue_full: what is dropped when a queue is full.
      refused_filters: topic filters that nobody may subscribe to as they stand, whatever the share
        name; what they match is still to be had by others, as far as a role allows.
      assign_lasting_client_ids: whether a client of 5.0 may leave its identifier to the server
        without Clean Start, as the specification lets it. Who forgets the assigned identifier finds
        nothing again, and leaves another session behind each time, until that expires; 3.1.1 has no
        such clients.
      response_information: given to clients that ask for it (CONNACK: Response Information), with
        ``%client`` for the client identifier; None gives nothing.
      reveal_reasons: whether clients are told why: by reason strings, and by 0x87 (not authorized)
        for what they may not publish or subscribe to. Without, there are no strings, and the code
        is 0x80 (unspecified error); the log says why all the same.
    """

    connections: int = 20_000
    connections_per_address: int = 2_000
    connect_timeout_seconds: float = 10.0
    pending_authentications: int = 1_000
    failed_logins_per_device: int = 10
    failed_logins_per_address: int = 100
    failed_logins_seconds: float = 60.0
    connect_packet_bytes: int = 64 * KIB
    client_id_bytes: int = 1_024
    maximum_packet_bytes: int = 16 * MIB
    receive_maximum: int = 5_000
    in_flight_messages: int = 20_000
    topic_alias_maximum: int = 100
    sent_topic_aliases: int = 32
    device_messages_per_second: int | None = 1_000
    device_bytes_per_second: int | None = 1 * MIB
    service_messages_per_second: int | None = None
    service_bytes_per_second: int | None = None
    rate_burst_seconds: float = 10.0
    write_buffer_bytes: int = 1 * MIB
    server_keep_alive_seconds: int | None = None
    session_expiry_seconds: int = 7 * 24 * 3600
    topic_levels: int = 128
    subscriptions_per_session: int = 1_000
    retained_messages: int = 100_000
    retained_bytes: int = 256 * MIB
    device_queue: QueueLimits = field(
        default_factory=lambda: QueueLimits(messages=1_000, bytes=8 * MIB)
    )
    service_queue: QueueLimits = field(
        default_factory=lambda: QueueLimits(messages=1_000_000, bytes=1 * GIB)
    )
    queued_bytes: int = 2 * GIB
    memory_bytes: int | None = None
    queue_full: QueueFull = QueueFull.DROP_NEWEST
    refused_filters: tuple[str, ...] = ()
    assign_lasting_client_ids: bool = True
    response_information: str | None = None
    reveal_reasons: bool = True

    def __post_init__(self) -> None:
        lowest = {
            # [MQTT-3.1.3-5]
            "client_id_bytes": 23,
            "topic_alias_maximum": 0,
            "sent_topic_aliases": 0,
            "session_expiry_seconds": 0,
        }
        highest = {
            "connections": MOST_CONNECTIONS,
            "connections_per_address": MOST_CONNECTIONS,
            "connect_timeout_seconds": LONGEST_SECONDS,
            "failed_logins_seconds": LONGEST_SECONDS,
            "rate_burst_seconds": LONGEST_SECONDS,
            "receive_maximum": 65_535,
            "in_flight_messages": 65_535,
            "topic_alias_maximum": 65_535,
            "sent_topic_aliases": 65_535,
            "server_keep_alive_seconds": 65_535,
            "session_expiry_seconds": NEVER,
            "client_id_bytes": 65_535,
            "maximum_packet_bytes": LARGEST_PACKET_BYTES,
            "connect_packet_bytes": LARGEST_PACKET_BYTES,
        }
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                least, most = lowest.get(item.name, 1), highest.get(item.name, HIGHEST)
                _check(item.name, value, least, most)
        for text in self.refused_filters:
            TopicFilter.parse(text)

    @property
    def filters_of_a_packet(self) -> int:
        """The most that a SUBSCRIBE or UNSUBSCRIBE may have."""
        return max(self.subscriptions_per_session, _FILTERS_OF_A_PACKET)


LIVE = frozenset(
    {
        "connections",
        "connections_per_address",
        "connect_packet_bytes",
        "client_id_bytes",
        "in_flight_messages",
        "sent_topic_aliases",
        "device_messages_per_second",
        "device_bytes_per_second",
        "service_messages_per_second",
        "service_bytes_per_second",
        "rate_burst_seconds",
        "server_keep_alive_seconds",
        "session_expiry_seconds",
        "topic_levels",
        "subscriptions_per_session",
        "retained_messages",
        "retained_bytes",
        "device_queue",
        "service_queue",
        "queue_full",
        "queued_bytes",
        "memory_bytes",
        "refused_filters",
        "assign_lasting_client_ids",
        "response_information",
        "reveal_reasons",
    }
)
"""Limits that may change while clients are connected. The others were told to clients, or have
sized what there is."""


def live(limits: Limits, wanted: Limits) -> tuple[Limits, list[str]]:
    """``limits`` with what may change of ``wanted``, and the names of what may not and differs."""
    differ = [
        item.name
        for item in fields(Limits)
        if getattr(limits, item.name) != getattr(wanted, item.name)
    ]
    changes = {name: getattr(wanted, name) for name in differ if name in LIVE}
    return replace(limits, **changes), [name for name in differ if name not in LIVE]


def _check(name: str, value: float, least: int, most: int) -> None:
    if not value >= least:
        raise ValueError(f"{name} is {value}; it must be a number of at least {least}")
    if value > most:
        raise ValueError(f"{name} is {value}; at most {most} is possible")
