"""A transport over another one: what stands between a socket and MQTT."""

from __future__ import annotations

import asyncio
from typing import Any


class Layer(asyncio.Transport):
    """Hands to the transport below all that a layer does not do itself.

    What is written waits there, as records or frames, so that its limits and sizes are theirs.
    """

    def __init__(self, below: asyncio.Transport) -> None:
        super().__init__()
        self._below = below

    def abort(self) -> None:
        """Closes at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether the transport below is closed, or about to be."""
        return self._below.is_closing()

    def pause_reading(self) -> None:
        """What the client sends stays with the system: nothing that was read is held here."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Reads on."""
        self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes as they wait for the system."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the system."""
        return self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """That of the transport below."""
        return self._below.get_extra_info(name, default)
