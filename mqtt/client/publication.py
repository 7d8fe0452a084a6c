"""Messages of a publisher that are waited for together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mqtt.outgoing import Message

if TYPE_CHECKING:
    from mqtt.client.publisher import Publisher


class Publication:
    """Messages that are waited for together; made by :meth:`Publisher.open`, used by one thread.

    Adding sends as the window allows while earlier messages are still unanswered; ``wait``
    returns when the last is answered.
    """

    def __init__(self, publisher: Publisher, timeout_seconds: float) -> None:
        self._publisher = publisher
        self._deadline = time.monotonic() + timeout_seconds
        self.abandoned = False
        # For the publisher: what is added, and a reason code each, success until another is told.
        self.heads: list[bytes] = []
        self.tails: list[bytes] = []
        self.codes = bytearray()
        self.missing = 0
        self.told: dict[int, str] = {}
        """By its place in the order added: what a broker said of a message in its own words."""

    @property
    def answered(self) -> bool:
        """Whether nothing that was added is still unanswered."""
        return not self.missing

    def add(self, messages: Iterable[Message]) -> None:
        """Sends messages at QoS 1. Raises ConnectionLost if there is no room in time."""
        self._publisher._add(self, messages, self._deadline)

    def add_encoded(self, heads: Sequence[bytes], tails: Sequence[bytes]) -> None:
        """Sends messages that were encoded before, for this connection's protocol and checked as
        ``mqtt.outgoing.encoded`` does. Raises as :meth:`add`.
        """
        self._publisher._add_encoded(self, heads, tails, self._deadline)

    def wait(self) -> list[int]:
        """Returns each message's reason code, in the order added.

        0x00 is success, 0x10 no matching subscribers, 0x80 and above a refusal by the broker.
        Some are also given for messages that were not sent, because a broker would end the
        connection over them: 0x90 (topic name invalid), 0x81 (another field is nothing that MQTT
        can carry), 0x95 (packet too large), 0x9A (the broker retains nothing), 0x83 (the broker
        closed the connection over it, again and again; see ``mqtt.client.caution``).

        Raises:
          ConnectionLost: not all were acknowledged in time; they may have been delivered.
        """
        self._publisher._wait_for_all(self, self._deadline)
        return list(self.codes)

    def settle(self, index: int, code: int, told: str = "") -> None:
        """Notes an answer, with the broker's words for it. For the publisher."""
        self.codes[index] = code
        self.missing -= 1
        if told:
            self.told[index] = told
