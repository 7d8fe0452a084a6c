"""Topics that the server itself publishes to.

Those of figures begin with ``$SYS/``, which no role allows a client to publish to, and a wildcard
at the first level of a filter leaves out [MQTT-4.7.2-1]. Figures go out at QoS 0, and the last
message of each is retained and not stored: nobody who is away gathers them. Events, whose topic is
a setting, go out at QoS 1 and are not retained; sessions of those who are away gather them.
"""

from __future__ import annotations

from collections.abc import Mapping

from mqtt5 import PublishPacket, QoS

from broker.core.delivery import Delivery
from broker.core.message import Message, of_the_servers
from broker.core.retained import Retained


class OwnTopics:
    """Publishes figures that have changed since they were published last, and events."""

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
            packet = PublishPacket(topic, text.encode(), retain=True)
            message = Message.of(of_the_servers(packet), topic, "", now)
            self._retained.keep(message, stored=False)
            self._delivery.route(message, None, now)

    def say(self, topic: str, payload: bytes, now: float) -> None:
        """Publishes an event, in JSON."""
        packet = PublishPacket(
            topic,
            payload,
            qos=QoS.AT_LEAST_ONCE,
            # Never sent: each subscriber's copy gets an identifier of its own.
            packet_id=1,
            content_type="application/json",
        )
        self._delivery.route(Message.of(of_the_servers(packet), topic, "", now), None, now)
