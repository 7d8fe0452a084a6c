"""Lists as elements: what a read gives at once, worked on at once.

An element costs Beam some 5 microseconds a step whatever is in it; a list of hundreds costs the
same. Lists pass between fused steps by reference. Beam samples elements for their encoded size,
which for a list would mean pickling hundreds of messages, so the coder estimates.
"""

from __future__ import annotations

import pickle
from typing import Any, TypeVar

from apache_beam import coders

T = TypeVar("T")

_ESTIMATED_BYTES = 300


class MessageList(list[T]):
    """Messages that were read together, in order."""


class MessageListCoder(coders.Coder):
    """Pickles a list where a runner breaks the fusion; estimates sizes without."""

    def encode(self, value: MessageList[Any]) -> bytes:
        """Returns the pickle."""
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> MessageList[Any]:
        """Reads what this worker's pipeline wrote."""
        result: MessageList[Any] = pickle.loads(encoded)  # noqa: S301  # between our own workers
        return result

    def estimate_size(self, value: MessageList[Any]) -> int:
        """Returns a guess in bytes."""
        return _ESTIMATED_BYTES * len(value)

    def is_deterministic(self) -> bool:
        """Pickles are not."""
        return False


coders.registry.register_coder(MessageList, MessageListCoder)
