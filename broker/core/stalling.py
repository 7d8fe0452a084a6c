"""Clients that are not read from while all that may wait does: MQTT 3.1.1 has no word for it.

From a client of 5.0 a PUBLISH is refused with 0x97 (quota exceeded). To one of 3.1.1 an
acknowledgement is all that can be said, and it would be a lie; so what it sends stays with the
system until there is room, and its keep alive is not counted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.core.actions import Turn
from broker.core.budget import Budget
from broker.core.connection import Connection, Received
from broker.core.counters import Counters
from broker.core.message import Message
from mqtt.plain import FullPublish


class Stalling:
    """Knows who waits. ``go_on`` takes what a client had sent when it was stopped."""

    def __init__(
        self,
        *,
        budget: Budget,
        turn: Turn,
        counters: Counters,
        go_on: Callable[[Connection, float], None],
    ) -> None:
        self._budget = budget
        self._turn = turn
        self._counters = counters
        self._go_on = go_on
        self._stalled: dict[Connection, None] = {}

    def must_wait(self, packet: Received) -> bool:
        """Whether the packet of a client of 3.1.1, and all behind it, must wait."""
        return (
            self._budget.is_full
            and isinstance(packet, (Message, FullPublish))
            and bool(packet.packet_id)
        )

    def stall(self, connection: Connection) -> None:
        """Nothing more is read from the client."""
        connection.stalled = True
        self._stalled[connection] = None
        self._counters.publishers_stalled += 1
        self._turn.read(connection)

    def resume(self, now: float) -> None:
        """Reads from those who waited, if there is room again."""
        if not self._stalled or not self._budget.has_room_again:
            return
        stalled, self._stalled = self._stalled, {}
        for connection in stalled:
            connection.stalled = False
            connection.last_received = now
            self._turn.read(connection)
            self._go_on(connection, now)

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self._stalled.pop(connection, None)
        connection.stalled = False
