"""Topics that the server itself publishes to: the last message of each is retained, none is stored.

They begin with ``$SYS/``, which no role allows a client to publish to, and a wildcard at the first
level of a filter leaves out [MQTT-4.7.2-1]. They go out at QoS 0: nobody who is away gathers them.
"""

from __future__ import annotations

from collections.abc import Mapping

from mqtt5 import PublishPacket

from broker.core.delivery import Delivery
from broker.core.message import Message
from broker.core.retained import Retained


class OwnTopics:
    """Publishes what has changed since it was published last."""

    def __init__(self, *, delivery: Delivery, retained: Retained) -> None:
        self._delivery = delivery
        self._retained = retained
        self._told: dict[str, str] = {}

    def tell(self, values: Mapping[str, str], now: float) -> None:
        """Publishes values by topic; those that are as they were are not published again."""
        for topic, text in values.items():
            if self._told.get(topic) == text:
                continue
            self._told[topic] = text
            message = Message(PublishPacket(topic, text.encode(), retain=True), topic, "", now)
            self._retained.keep(message, stored=False)
            self._delivery.route(message, None, now)
