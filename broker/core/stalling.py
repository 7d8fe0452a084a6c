"""PUBLISH of clients of 3.1.1 that must wait while all that may wait does: it has no word for that.

From a client of 5.0 a PUBLISH is refused with 0x97 (quota exceeded). To one of 3.1.1 an
acknowledgement is all that can be said, and it would be a lie; so its PUBLISH are held back, in
their order, until there is room. All else that it sends is handled at once, for what waits may wait
for this very client: its PUBACK, PUBREC and PUBCOMP are what makes room. It may well send them
behind a PUBLISH, as who comes back must, with what it has unacknowledged itself [MQTT-4.4.0-1]; and
if nobody read on, nobody would ever read again.

So who is sent something, or is to be, is read from, and only who is not isn't: its part stays with
the system, and costs nothing. What is held back of one that is read has a bound. What comes beyond
is thrown away unacknowledged, and the connection is ended as soon as there is room: its client
sends all of that again when it comes back. To read no further in place of that would be the same
standstill a little later; to take the PUBLISH all the same would leave ``queued_bytes`` to whoever
subscribes to what he floods; to end the connection at once would have a client with more than the
bound on its way come back with as much ahead of its PUBACKs each time.

So as long as the clients acknowledge what they are sent, everything gets on, whatever they send
before. What is held back counts as memory, but not against the room that it waits for: else it
could stop itself.
"""

from __future__ import annotations

from collections.abc import Callable

from mqtt5 import DisconnectPacket, DisconnectReasonCode, PubRelPacket

from broker.core.actions import Turn
from broker.core.budget import Budget
from broker.core.connection import Connection, Received, State
from broker.core.counters import Counters
from broker.core.liveness import EndConnection
from broker.core.memory import LARGE_BYTES
from broker.core.message import Message
from broker.core.timers import Timers
from mqtt.plain import FullPublish

HELD_BACK_BYTES = 262_144
"""Of memory, for one connection that is read from; the first packet may be larger, unless the
memory is full.
"""

_LOOK_SECONDS = 1.0
"""Who was not to be sent anything may be by now."""

_PUBLISH_BYTES = 600
_RELEASE_BYTES = 100

_OVERFLOWED = (
    "it sent more than is held back while as much waits in all as may; what was not acknowledged is"
    " for it to send again"
)


class HeldBack:
    """What waits of a client: ``packets``, with the memory that they take and their identifiers.

    ``is_read``: whether the client is read from meanwhile. ``overflows``: more has come since, and
    was thrown away.
    """

    __slots__ = ("bytes", "identifiers", "is_read", "overflows", "packets")

    def __init__(self) -> None:
        self.packets: list[Received] = []
        self.bytes = 0
        self.identifiers: set[int] = set()
        self.is_read = True
        self.overflows = False


class Stalling:
    """Knows who waits. ``go_on`` takes what is in ``held`` of a connection; ``end`` closes one."""

    def __init__(
        self,
        *,
        budget: Budget,
        turn: Turn,
        timers: Timers,
        counters: Counters,
        go_on: Callable[[Connection, float], None],
        end: EndConnection,
    ) -> None:
        self._budget = budget
        self._turn = turn
        self._timers = timers
        self._counters = counters
        self._go_on = go_on
        self._end = end
        self._stalled: dict[Connection, HeldBack] = {}
        self._is_resuming = False
        self._is_watched = False

    def keeps_back(self, connection: Connection, packet: Received, now: float) -> bool:
        """Whether that packet of a client of 3.1.1 is not to be handled now."""
        held = connection.stalled
        if held is None:
            if not self._budget.is_full or not _adds(packet):
                return False
            if connection.state is not State.CONNECTED:
                return False
            held = self._stall(connection, now)
        if isinstance(packet, (Message, FullPublish)):
            self._hold_publish(connection, held, packet)
            return True
        if isinstance(packet, PubRelPacket) and packet.packet_id in held.identifiers:
            self._hold(held, packet, _RELEASE_BYTES)
            return True
        if isinstance(packet, DisconnectPacket) and not connection.is_owed:
            # It goes without waiting for an answer; what it leaves may yet be taken.
            self._hold(held, packet, 0)
            return True
        return False

    def regard(self, connection: Connection, now: float) -> None:
        """Something of it was handled, or it was sent something: reads from it, or not."""
        held = connection.stalled
        assert held is not None
        last = held.packets[-1] if held.packets else None
        if isinstance(last, DisconnectPacket) and connection.is_owed:
            self.forget(connection)
            connection.held = [last]
            self._go_on(connection, now)
            return
        is_read = _is_read(connection, held)
        if is_read is not held.is_read:
            held.is_read = is_read
            connection.last_received = now
            self._turn.read(connection)

    def resume(self, now: float) -> None:
        """Takes what was held back, if there is room again."""
        if not self._stalled or not self._budget.has_room_again:
            return
        waiting, self._stalled = self._stalled, {}
        self._is_resuming = True
        try:
            for connection, held in waiting.items():
                if self._budget.is_full:
                    break
                if connection.stalled is held:
                    self._go_on_with(connection, held, now)
        finally:
            self._is_resuming = False
            # Those whose turn did not come are the first ones next time.
            left = {each: held for each, held in waiting.items() if each.stalled is held}
            self._stalled = left | self._stalled

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        held = self._stalled.pop(connection, None) or connection.stalled
        if held is not None:
            self._let_go(connection, held)

    def _go_on_with(self, connection: Connection, held: HeldBack, now: float) -> None:
        self._let_go(connection, held)
        connection.last_received = now
        connection.held = held.packets
        self._go_on(connection, now)
        again = connection.stalled
        if again is not None:
            again.overflows = held.overflows
            again.is_read = _is_read(connection, again)
        elif held.overflows and connection.state is State.CONNECTED:
            self._end(connection, DisconnectReasonCode.QUOTA_EXCEEDED, _OVERFLOWED, now)
        self._turn.read(connection)

    def _stall(self, connection: Connection, now: float) -> HeldBack:
        held = connection.stalled = self._stalled[connection] = HeldBack()
        self._counters.publishers_stalled += 1
        if not self._is_watched:
            self._is_watched = True
            self._timers.at(now + _LOOK_SECONDS, self._look)
        return held

    def _let_go(self, connection: Connection, held: HeldBack) -> None:
        connection.stalled = None
        self._budget.hold_back(-held.bytes)

    def _hold_publish(
        self, connection: Connection, held: HeldBack, packet: Message | FullPublish
    ) -> None:
        if isinstance(packet, Message):
            size = packet.size
        else:
            publish = packet.packet
            size = len(publish.payload) + len(publish.topic) + _PUBLISH_BYTES
        if not self._is_resuming and connection.is_owed and self._is_too_much(held, size):
            held.overflows = True
        if held.overflows:
            self._counters.publishes_refused += 1
            return
        if packet.packet_id:
            held.identifiers.add(packet.packet_id)
        self._hold(held, packet, size)

    def _is_too_much(self, held: HeldBack, size: int) -> bool:
        if size > LARGE_BYTES and self._budget.memory_is_full:
            return True
        return bool(held.packets) and held.bytes + size > HELD_BACK_BYTES

    def _hold(self, held: HeldBack, packet: Received, size: int) -> None:
        held.packets.append(packet)
        held.bytes += size
        self._budget.hold_back(size)

    def _look(self, now: float) -> None:
        self._is_watched = bool(self._stalled)
        if self._is_watched:
            self._timers.at(now + _LOOK_SECONDS, self._look)
        for connection in list(self._stalled):
            self.regard(connection, now)


def _adds(packet: Received) -> bool:
    """Whether it would have to be acknowledged, and taken; to clear what is retained makes room."""
    if isinstance(packet, Message):
        return bool(packet.packet_id and (packet.payload or not packet.retain))
    if isinstance(packet, FullPublish):
        return bool(packet.packet_id and (packet.packet.payload or not packet.packet.retain))
    return False


def _is_read(connection: Connection, held: HeldBack) -> bool:
    """Its PUBREL give room back, too, but none of ``queued_bytes``, so not without a bound."""
    session = connection.session
    assert session is not None
    return connection.is_owed or (bool(session.received) and held.bytes < HELD_BACK_BYTES)
