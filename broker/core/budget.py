"""What waits for clients in all, whatever each of their sessions may hold, and all other memory."""

from __future__ import annotations

from broker.core.limits import Limits
from broker.core.message import Message

_SHARE_BYTES = 120
"""What each further session costs that holds the same message."""


class Budget:
    """Counts the memory of messages that wait or are unacknowledged, each message once.

    ``held_bytes``: of these messages. ``other_bytes``: of all else that clients cause: retained
    messages, sessions, subscriptions, connections and their buffers, see ``broker.core.memory``.
    ``held_back_bytes``: what of these waits for room itself.
    """

    def __init__(self, limits: Limits) -> None:
        self.held_bytes = 0
        self.other_bytes = 0
        self.held_back_bytes = 0
        self._limits = limits
        self._most = 0
        self.charge(0)

    @property
    def limits(self) -> Limits:
        """May be replaced while clients are connected."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self.charge(0)

    def hold(self, message: Message) -> None:
        """One more session or share group holds the message."""
        if message.holders:
            self.charge(_SHARE_BYTES)
        else:
            self.held_bytes += message.size
        message.holders += 1

    def let_go(self, message: Message) -> None:
        """One of them does no longer."""
        message.holders -= 1
        if message.holders:
            self.charge(-_SHARE_BYTES)
        else:
            self.held_bytes -= message.size

    def charge(self, size: int) -> None:
        """So many bytes of something else were taken, or given back if negative."""
        self.other_bytes += size
        most = self._limits.queued_bytes
        memory = self._limits.memory_bytes
        if memory is not None:
            rest = memory - self.other_bytes + self.held_back_bytes
            if rest < most:
                most = rest
        self._most = most

    def hold_back(self, size: int) -> None:
        """So many bytes wait to be taken, or no longer if negative; they take no room from others.

        Nor from themselves: else nothing might be left for those that fill it all.
        """
        self.held_back_bytes += size
        self.charge(size)

    @property
    def is_full(self) -> bool:
        """Whether no more is taken from publishers."""
        return self.held_bytes >= self._most

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes of something else would leave room for a message."""
        return self.held_bytes + size < self._most

    @property
    def has_room_again(self) -> bool:
        """Whether those who were made to wait may go on; later than ``is_full`` ends."""
        return self.held_bytes * 8 < self._most * 7

    @property
    def used_bytes(self) -> int:
        """All that is counted."""
        return self.held_bytes + self.other_bytes

    @property
    def memory_is_full_without_held_back(self) -> bool:
        """Whether what is taken now may not be kept for long."""
        memory = self._limits.memory_bytes
        taken = self.held_bytes + self.other_bytes - self.held_back_bytes
        return memory is not None and taken >= memory

    @property
    def memory_is_full(self) -> bool:
        """Whether nothing more may be begun that costs memory for long."""
        memory = self._limits.memory_bytes
        return memory is not None and self.held_bytes + self.other_bytes >= memory
