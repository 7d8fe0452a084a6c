"""Clients that are not read from for a while, because they send faster than they may.

A device has a token bucket of messages and one of bytes, and keeps them when it connects anew; all
of a service's connections share those of the service. Nothing of what it sends is lost and nobody
is disconnected: what is beyond the rate stays with the system until the bucket has room again, and
the keep alive is not counted meanwhile. What was read at once is taken at once, so a bucket may be
overdrawn by one read.

A bucket is kept as the time until which what was sent is paid for: the burst behind now where it is
full, now where it is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.auth.principal import PrincipalKind
from broker.core.actions import Turn
from broker.core.connection import Connection, State
from broker.core.counters import Counters
from broker.core.limits import Limits
from broker.core.timers import Timer, Timers

SHORTEST_PAUSE_SECONDS = 0.1
"""Who is above its rate costs ten pauses a second and not one for each message."""

REPORT_SECONDS = 600.0
"""Between two lines of the log about the same device."""

_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one message and one byte take of a second; 0: they are not limited."""

    seconds_per_message: float
    seconds_per_byte: float
    burst_seconds: float
    words: str


class Pace:
    """The buckets of one device or service, and how many connections it has.

    ``retained_until``: of one more bucket, as large as that of messages, for the retained ones that
    its subscriptions bring. Who waits for them may send as before.
    """

    __slots__ = (
        "bytes_until",
        "connections",
        "is_watched",
        "messages_until",
        "rates",
        "reported_at",
        "retained_until",
        "times",
    )

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.messages_until = self.bytes_until = self.retained_until = _LONG_AGO
        self.connections = 0
        self.is_watched = False
        self.times = 0
        self.reported_at = _LONG_AGO

    @property
    def until(self) -> float:
        """When both buckets have room again, or had."""
        return max(self.messages_until, self.bytes_until)

    def spend(self, packets: int, size: int, now: float) -> bool:
        """Takes from both buckets. Returns whether one is empty."""
        rates = self.rates
        full = now - rates.burst_seconds
        messages, size_until = self.messages_until, self.bytes_until
        if messages < full:
            messages = full
        if size_until < full:
            size_until = full
        self.messages_until = messages = messages + packets * rates.seconds_per_message
        self.bytes_until = size_until = size_until + size * rates.seconds_per_byte
        return messages > now or size_until > now

    def bring(self, messages: int, now: float) -> None:
        """So many retained messages were brought."""
        rates = self.rates
        since = max(self.retained_until, now - rates.burst_seconds)
        self.retained_until = since + messages * rates.seconds_per_message

    def full_at(self) -> float:
        """When every bucket is full again, if nothing more is taken from them."""
        return max(self.until, self.retained_until) + self.rates.burst_seconds


class Pacing:
    """Knows the buckets, and who waits for one."""

    def __init__(self, *, limits: Limits, turn: Turn, timers: Timers, counters: Counters) -> None:
        self.limits = limits
        self._turn = turn
        self._timers = timers
        self._counters = counters
        self._rates = _rates(limits)
        self._paces: dict[tuple[PrincipalKind, str], Pace] = {}
        self._waiting: dict[Connection, Timer] = {}

    @property
    def slowed(self) -> int:
        """How many clients are not read from now."""
        return len(self._waiting)

    def connected(self, connection: Connection, now: float) -> None:
        """A client has logged in; what it sent before that counts too."""
        self._join(connection)
        pace = connection.pace
        if pace is not None and pace.spend(len(connection.held), 0, now):
            self.slow(connection, now)

    def slow(self, connection: Connection, now: float) -> None:
        """A bucket of the client's is empty."""
        pace = connection.pace
        assert pace is not None
        if connection.slowed:
            return
        connection.slowed = True
        self._counters.clients_slowed += 1
        self._turn.read(connection)
        self._wait(connection, max(pace.until, now + SHORTEST_PAUSE_SECONDS))
        self._report(connection, pace, now)

    def forget(self, connection: Connection) -> None:
        """The connection has ended; its client's buckets stay until they are full."""
        timer = self._waiting.pop(connection, None)
        if timer is not None:
            timer.cancel()
        connection.slowed = False
        pace, connection.pace = connection.pace, None
        if pace is None:
            return
        pace.connections -= 1
        principal = connection.principal
        if not pace.connections and principal is not None:
            self._watch(pace, (principal.kind, principal.name))

    def limits_changed(self, connections: Iterable[Connection]) -> None:
        """The new rates hold at once, and every bucket is full."""
        rates = _rates(self.limits)
        if rates == self._rates:
            return
        self._rates = rates
        self._paces.clear()
        for connection in connections:
            if connection.state is State.CONNECTED:
                self._join(connection)
        for connection, timer in list(self._waiting.items()):
            timer.cancel()
            self._wait(connection, _LONG_AGO)

    def _join(self, connection: Connection) -> None:
        principal = connection.principal
        assert principal is not None
        connection.pace = None
        rates = self._rates[principal.kind]
        if rates is None:
            return
        key = (principal.kind, principal.name)
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace(rates)
        pace.connections += 1
        connection.pace = pace

    def _wait(self, connection: Connection, until: float) -> None:
        self._waiting[connection] = self._timers.at(until, lambda now: self._go_on(connection, now))

    def _go_on(self, connection: Connection, now: float) -> None:
        pace = connection.pace
        if pace is not None and pace.until > now:
            # Another connection of the same service took of it, or something was on its way.
            self._wait(connection, max(pace.until, now + SHORTEST_PAUSE_SECONDS))
            return
        del self._waiting[connection]
        connection.slowed = False
        connection.last_received = now
        self._turn.read(connection)

    def _watch(self, pace: Pace, key: tuple[PrincipalKind, str]) -> None:
        """Forgets buckets that nobody uses once they are full, for new ones are."""
        if not pace.is_watched:
            pace.is_watched = True
            self._timers.at(pace.full_at(), lambda now: self._watched(pace, key, now))

    def _watched(self, pace: Pace, key: tuple[PrincipalKind, str], now: float) -> None:
        pace.is_watched = False
        if pace.connections or self._paces.get(key) is not pace:
            return
        if pace.full_at() > now:
            self._watch(pace, key)
        else:
            del self._paces[key]

    def _report(self, connection: Connection, pace: Pace, now: float) -> None:
        pace.times += 1
        if now - pace.reported_at < REPORT_SECONDS:
            return
        times = f", {pace.times} times since this was last told" if pace.times > 1 else ""
        reason = f"it sends more than {pace.rates.words}"
        self._turn.notice(
            connection,
            f"not read from for a while: {reason}{times}",
            event="slowed",
            reason=reason,
            warning=True,
        )
        pace.reported_at, pace.times = now, 0


def _rates(limits: Limits) -> dict[PrincipalKind, Rates | None]:
    burst = limits.rate_burst_seconds
    return {
        PrincipalKind.DEVICE: _rates_of(
            limits.device_messages_per_second, limits.device_bytes_per_second, burst
        ),
        PrincipalKind.SERVICE: _rates_of(
            limits.service_messages_per_second, limits.service_bytes_per_second, burst
        ),
    }


def _rates_of(messages: int | None, size: int | None, burst_seconds: float) -> Rates | None:
    """None where nothing is limited: then nothing is counted either."""
    bounds = [(messages, "messages"), (size, "bytes")]
    told = [f"{number} {name}" for number, name in bounds if number is not None]
    if not told:
        return None
    return Rates(
        seconds_per_message=1 / messages if messages else 0.0,
        seconds_per_byte=1 / size if size else 0.0,
        burst_seconds=burst_seconds,
        words=f"{' or '.join(told)} a second",
    )
