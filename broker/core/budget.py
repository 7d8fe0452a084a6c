"""What waits for clients in all, whatever each of their sessions may hold."""

from __future__ import annotations

from broker.core.limits import Limits
from broker.core.message import Message


class Budget:
    """Counts the memory of messages that wait or are unacknowledged, each message once.

    ``limits`` may be replaced while clients are connected. Retained messages have bounds of their
    own.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held_bytes = 0

    def hold(self, message: Message) -> None:
        """One more session or share group holds the message."""
        if not message.holders:
            self.held_bytes += message.size
        message.holders += 1

    def let_go(self, message: Message) -> None:
        """One of them does no longer."""
        message.holders -= 1
        if not message.holders:
            self.held_bytes -= message.size

    @property
    def is_full(self) -> bool:
        """Whether no more is taken from publishers."""
        return self.held_bytes >= self.limits.queued_bytes

    @property
    def has_room_again(self) -> bool:
        """Whether those who were made to wait may go on; later than ``is_full`` ends."""
        return self.held_bytes < self.limits.queued_bytes * 7 // 8
