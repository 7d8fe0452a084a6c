"""From the bytes of a client to the part of the core that each packet is for.

One packet after the other, in order: before CONNECT, while a login is verified, or while there is
no room for it, a packet waits or ends the connection; see ``broker.core.stalling`` for the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mqtt5 import DisconnectReasonCode

from broker.core.acknowledging import Acknowledging
from broker.core.connection import Connection, Received, State
from broker.core.ending import Ending
from broker.core.memory import Memory
from broker.core.pacing import Pacing
from broker.core.stalling import Stalling
from mqtt.errors import ProtocolError

_HELD_PACKETS = 1_000
"""A client need not wait for CONNACK, but then must not go far ahead of it [MQTT-3.1.4-5]."""

_UNWRITTEN_BYTES = 65_536
"""Fewer that wait to be written are counted when they are and some of them are left."""

Handler = Callable[[Connection, Any, float], None]


class Receiving:
    """``handlers``: what is done with a packet, by type; a ProtocolError ends the connection."""

    def __init__(
        self,
        *,
        handlers: Mapping[type[Received], Handler],
        acknowledging: Acknowledging,
        ending: Ending,
        memory: Memory,
        pacing: Pacing,
        stalling: Stalling,
    ) -> None:
        self._handlers = handlers
        self._acknowledging = acknowledging
        self._ending = ending
        self._memory = memory
        self._pacing = pacing
        self._stalling = stalling

    def feed(self, connection: Connection, data: bytes, now: float) -> None:
        """Bytes came from the client."""
        try:
            self._feed(connection, data, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and is this client's
            self._ending.failed(connection, error, now)
        self._stalling.resume(now)

    def go_on(self, connection: Connection, now: float) -> None:
        """What had to wait is handled."""
        held, connection.held = connection.held, []
        connection.unhandled_bytes = 0
        try:
            self._receive(connection, held, now)
        except Exception as error:  # noqa: BLE001 - as above
            self._ending.failed(connection, error, now)

    def buffers_changed(self, connection: Connection, now: float) -> None:
        """Other bytes wait for the client, or from it; too many while the memory is full end it."""
        if connection.state is State.CLOSED or self._memory.buffers_changed(connection):
            return
        words = "in the midst of a large packet while the server's memory is at its limit"
        self._ending.close(connection, DisconnectReasonCode.QUOTA_EXCEEDED, words, now)

    def _feed(self, connection: Connection, data: bytes, now: float) -> None:
        try:
            packets = connection.decoder.feed(data)
        except ProtocolError as error:
            self._receive(connection, error.packets, now)
            self._ending.violated(connection, error, now)
        else:
            self._receive(connection, packets, now)
            pace = connection.pace
            if pace is not None and pace.spend(len(packets), len(data), now):
                self._pacing.slow(connection, now)
        if connection.pubacks:
            self._receive_pubacks(connection, now)
        if connection.held:
            connection.unhandled_bytes += len(data)
        if connection.stalled is not None:
            self._stalling.regard(connection, now)
        if (
            connection.charged_buffers
            or connection.decoder.buffered_bytes
            or connection.held
            or connection.buffered_bytes > _UNWRITTEN_BYTES
        ):
            self.buffers_changed(connection, now)

    def _receive(self, connection: Connection, packets: Sequence[Received], now: float) -> None:
        connection.last_received = now
        handlers = self._handlers
        for index, packet in enumerate(packets):
            if not connection.v5 and self._stalling.keeps_back(connection, packet, now):
                continue
            if type(packet) not in connection.state.takes:
                self._not_now(connection, packets[index:], now)
                return
            try:
                handlers[type(packet)](connection, packet, now)
            except ProtocolError as error:
                self._ending.violated(connection, error, now)
                return

    def _not_now(self, connection: Connection, packets: Sequence[Received], now: float) -> None:
        """The first of them is none that the connection's state takes."""
        if connection.state is State.CLOSED:
            return
        words = f"{type(packets[0]).__name__} while {connection.state.label}"
        if connection.state is State.AUTHENTICATING:
            connection.held += packets
            if len(connection.held) <= _HELD_PACKETS:
                return
            words = f"more than {_HELD_PACKETS} packets before CONNACK"
        self._ending.violated(connection, ProtocolError(words), now)

    def _receive_pubacks(self, connection: Connection, now: float) -> None:
        """The PUBACKs at the end of what was fed, which stood behind its packets."""
        identifiers, connection.pubacks[:] = connection.pubacks[:], []
        if connection.state is not State.CONNECTED:
            return
        connection.last_received = now
        try:
            self._acknowledging.all_acknowledged(connection, identifiers, now)
        except ProtocolError as error:
            self._ending.violated(connection, error, now)
