"""What clients cost in memory beside their messages, as ``Budget`` counts it.

Measured on CPython 3.11 as what a process grows by, and rounded up.
"""

from __future__ import annotations

from broker.core.budget import Budget
from broker.core.connection import Connection
from broker.core.left_will import LeftWill
from broker.core.message import Message

CONNECTION_BYTES = 5_000
"""An open connection, the transport's part of plain TCP with it."""

TLS_BYTES = 30_000
"""What TLS adds, with a client's certificate."""

SESSION_BYTES = 2_200
"""Beside its client identifier."""
RECEIVED_BYTES = 100
"""An identifier of a QoS 2 message that awaits its PUBREL."""

_LETTER_BYTES = 4
"""The most that Python takes for one."""
_LEVEL_BYTES = 430
_EXPIRY_BYTES = 300
_SUBSCRIPTION_BYTES = 200
_ALIAS_BYTES = 150
LARGE_BYTES = 65_536
"""A packet of more is not begun to be taken while the memory is full."""

_WILL_BYTES = 600

REMEMBERED_TOPIC_BYTES = 400
"""Of a topic that a connection's right to publish to is remembered of."""
REMEMBERED_TOPIC_LETTERS = 256
"""A longer one is looked at each time."""


def session_bytes(client_id: str) -> int:
    """What a session costs beside what it holds."""
    return SESSION_BYTES + _LETTER_BYTES * len(client_id)


def levels_bytes(topic: str) -> int:
    """What the nodes of a topic, or of a filter, cost in a tree."""
    return _LEVEL_BYTES * (topic.count("/") + 1) + len(topic)


def retained_bytes(message: Message) -> int:
    """What a retained message costs."""
    expiry = 0 if message.expires_at is None else _EXPIRY_BYTES
    return message.size + levels_bytes(message.topic) + expiry


def subscription_bytes(topic_filter: str) -> int:
    """What a subscription costs; no more than that where it shares its levels with others."""
    return _SUBSCRIPTION_BYTES + levels_bytes(topic_filter)


def will_bytes(will: LeftWill) -> int:
    """What a will costs while it may yet be published."""
    return _WILL_BYTES + len(will.topic) + len(will.payload) + len(will.properties)


class Memory:
    """Counts what connections cost; each gives all of it back when it ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._let_through: Connection | None = None

    def opened(self, connection: Connection, transport_bytes: int) -> None:
        """There is one more; ``transport_bytes``: what its transport takes beyond TCP."""
        self._charge(connection, CONNECTION_BYTES + transport_bytes)

    def connected(self, connection: Connection) -> None:
        """It has logged in."""
        if connection.will is not None:
            self._charge(connection, will_bytes(connection.will))

    def alias_set(self, connection: Connection, topic: str, before: str | None) -> None:
        """A client's alias stands for a topic, and did for another or none."""
        added = len(topic) + _ALIAS_BYTES if before is None else len(topic) - len(before)
        self._charge(connection, added)

    def buffers_changed(self, connection: Connection) -> bool:
        """What is not whole yet of what it sent, or not yet sent of what it is to get.

        Returns whether the connection may go on: a large packet could not be taken when it is whole
        while the memory is full, and only its end gives back what there is of it. One at a time of
        those who are sent something themselves is let through all the same: its acknowledgements,
        which make room, may be what follows.
        """
        size = (
            connection.buffered_bytes
            + connection.decoder.buffered_bytes
            + connection.unhandled_bytes
        )
        self._budget.charge(size - connection.charged_buffers)
        connection.charged_buffers = size
        if connection.decoder.buffered_bytes <= LARGE_BYTES:
            if self._let_through is connection:
                self._let_through = None
            return True
        if not self._budget.memory_is_full or self._let_through is connection:
            return True
        if self._let_through is None and connection.is_owed:
            self._let_through = connection
            return True
        return False

    def right_remembered(self) -> None:
        """A topic is among ``connection.permitted``."""
        self._budget.charge(REMEMBERED_TOPIC_BYTES)

    def forget_rights(self, connection: Connection) -> None:
        """None is any more."""
        self._budget.charge(-REMEMBERED_TOPIC_BYTES * len(connection.permitted))
        connection.permitted.clear()

    def ended(self, connection: Connection) -> None:
        """The connection is no more."""
        if self._let_through is connection:
            self._let_through = None
        self.forget_rights(connection)
        self._budget.charge(-connection.charged_bytes - connection.charged_buffers)
        connection.charged_bytes = connection.charged_buffers = 0

    def _charge(self, connection: Connection, size: int) -> None:
        self._budget.charge(size)
        connection.charged_bytes += size
