"""Which message does a broker close the connection over?

Some brokers answer a publish that they forbid by closing, and MQTT 3.1.1 knows no other refusal.
Sent again on each new connection, such a message would hold up all others for ever. So when
connections end without a single answer, the oldest unanswered message is sent alone, after the
connection has stood a while by itself. If that ends the connection at once, and the next one too,
the message is given up; if it is answered, more and more are sent at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

_FRUITLESS = 2
"""Connections in a row without an answer: one may be chance."""
_QUIET_SECONDS = 1.0
_AT_ONCE_SECONDS = 5.0
"""A broker that closes over a message does it when it reads it; a network that fails takes longer
to be noticed.
"""
_CONVICTIONS = 2


class Caution:
    """What the publisher has learned of its connections. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._fruitless = 0
        self._answered = False
        self._window = 0
        self._outstanding = 0
        self._quiet_until = 0.0
        self._alone: int | None = None
        self._sent_at = 0.0
        self._convicted: int | None = None
        self._convictions = 0

    def connected(self, now: float, *, unanswered: bool) -> bool:
        """A connection stands. Returns whether it is one to be careful with."""
        self._answered = False
        self._outstanding = 0
        self._alone = None
        self._quiet_until = now + _QUIET_SECONDS
        self._window = 1 if unanswered and self._fruitless >= _FRUITLESS else 0
        return bool(self._window)

    def allowance(self, now: float) -> int:
        """Returns how many may be sent now on a connection to be careful with."""
        return 0 if self._outstanding or now < self._quiet_until else self._window

    def sent(self, packet_ids: Sequence[int], now: float) -> None:
        """These were sent as :meth:`allowance` let them."""
        self._outstanding = len(packet_ids)
        self._alone = packet_ids[0] if len(packet_ids) == 1 else None
        self._sent_at = now

    def answered(self, count: int) -> None:
        """So many answers came."""
        self._answered = True
        self._fruitless = 0
        if self._outstanding:
            self._outstanding = max(0, self._outstanding - count)
            if not self._outstanding:
                self._window *= 2
                self._alone = self._convicted = None

    def lost(self, now: float, *, unanswered: bool) -> int | None:
        """The connection ended. Returns the packet identifier of a message to give up."""
        if self._window:
            if not self._outstanding or self._alone is None:
                return None
            if now - self._sent_at > _AT_ONCE_SECONDS:
                return None
            self._convictions = self._convictions + 1 if self._alone == self._convicted else 1
            self._convicted = self._alone
            if self._convictions < _CONVICTIONS:
                return None
            self._fruitless = 0
            return self._alone
        if unanswered and not self._answered:
            self._fruitless += 1
        return None
