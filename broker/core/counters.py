"""What the broker counts: plain integers that only grow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """One server's counters since its start."""

    connections_accepted: int = 0
    connections_refused: int = 0
    sessions_taken_over: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    messages_sent_by_alias: int = 0
    messages_redelivered: int = 0
    messages_without_subscriber: int = 0
    publishes_refused: int = 0
    dropped_queue_full: int = 0
    dropped_expired: int = 0
    dropped_too_large: int = 0
    dropped_session_ended: int = 0
    protocol_errors: int = 0
    keep_alive_timeouts: int = 0
    wills_published: int = 0
