"""What the broker counts: plain integers that only grow."""

from __future__ import annotations

from dataclasses import dataclass, field


def counted(help: str) -> int:
    """A field of ``Counters``; ``help``: what it counts, in a sentence for whoever watches it."""
    counter: int = field(default=0, metadata={"help": help})
    return counter


@dataclass(slots=True)
class Counters:
    """One server's counters since its start."""

    connections_accepted: int = counted("CONNECTs that were answered with success.")
    connections_refused: int = counted("CONNECTs that were answered with a refusal.")
    connections_over_limit: int = counted(
        "Connections that were closed at once because as many as limits.connections or"
        " limits.connections_per_address allows were open."
    )
    connect_timeouts: int = counted(
        "Connections that were closed because no CONNECT, or no AUTH after it, came in time."
    )
    sessions_taken_over: int = counted(
        "Connections that ended because another one came with their client identifier."
    )
    messages_received: int = counted("PUBLISH packets from clients.")
    messages_sent: int = counted("PUBLISH packets to clients, without those that were sent again.")
    messages_sent_by_alias: int = counted("PUBLISH packets to clients by an alias for their topic.")
    messages_redelivered: int = counted(
        "PUBLISH packets that were sent again on a later connection."
    )
    messages_without_subscriber: int = counted("Messages that nobody had subscribed to.")
    publishes_refused: int = counted("PUBLISH packets that were refused.")
    publishers_stalled: int = counted(
        "Times that what a client of MQTT 3.1.1 publishes had to wait because too much did in all."
    )
    clients_slowed: int = counted(
        "Times that a client was not read from for a while because it sent more than its rate."
    )
    dropped_queue_full: int = counted("Messages dropped because a session's queue was full.")
    dropped_expired: int = counted("Messages whose expiry interval passed while they waited.")
    dropped_too_large: int = counted("Messages larger than their client takes.")
    dropped_session_ended: int = counted("Messages whose session ended before they arrived.")
    protocol_errors: int = counted("Connections that ended because the client broke the protocol.")
    keep_alive_timeouts: int = counted(
        "Connections that ended because the client was silent for too long."
    )
    wills_published: int = counted("Wills that were published.")
    wills_refused: int = counted(
        "Wills that were not published because retained messages were at their limit."
    )
    events_not_recorded: int = counted(
        "Connects and disconnects for which there was no room on their way into the registry."
    )
