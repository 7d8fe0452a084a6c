"""MQTT messages to Pub/Sub messages: who, when and where as attributes, the bytes untouched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from schemas.errors import InvalidTelemetry
from schemas.layout import Layout
from schemas.messages import Rejected, Telemetry
from schemas.times import format_time
from transforms.lists import MessageList
from transforms.mqttio import MqttMessage
from transforms.pubsubio import FramedMessages, Refused
from transforms.pubsubio.limits import MAXIMUM_DATA_BYTES
from transforms.pubsubio.wire import attribute, framed

REJECTED = "rejected"


class TelemetryToPubSub(beam.DoFn):
    """Lists of MqttMessage to what WriteToPubSub takes.

    Guarantee and ordering are those of its input; it keeps nothing. Input:
    ``MessageList[MqttMessage]``. Output: ``FramedMessages``, or single ``PubsubMessage`` where
    ``ordered``, with the attributes of ``schemas.messages.Telemetry``; tagged ``rejected``:
    ``Rejected``, one for each message that is no telemetry (a topic outside the layout, a payload
    or an attribute that Pub/Sub can't carry).

    Args:
      layout: which topic means what.
      ordered: whether the device id is the ordering key.
    """

    def __init__(self, layout: Layout, *, ordered: bool = False) -> None:
        self._layout = layout
        self._ordered = ordered
        self._rejected = Metrics.counter("telemetry", "rejected")

    def setup(self) -> None:
        """Makes the encoder, which keeps caches and is not pickled."""
        self._framer = TelemetryFramer(self._layout)

    def process(self, element: MessageList[MqttMessage]) -> Iterator[Any]:
        """Gives the list's messages encoded, and those that are rejected."""
        frame = self._framer.frame
        messages: FramedMessages = FramedMessages()
        for message in element:
            try:
                if self._ordered:
                    yield _ordered(message, self._layout)
                else:
                    messages.append(frame(message))
            except InvalidTelemetry as error:
                self._rejected.inc()
                yield beam.pvalue.TaggedOutput(REJECTED, _rejected(message, str(error)))
        if messages:
            yield messages


class TelemetryFramer:
    """Encodes messages as ``Telemetry.from_mqtt(…)`` and its ``attributes()`` would, in a fifth of
    the time: what topic and content type alone decide is encoded once.

    A message with user properties goes through Telemetry itself.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._received_time = -1.0
        self._received = b""

    def frame(self, message: MqttMessage) -> bytes:
        """Returns the message, framed for a publish request. Raises InvalidTelemetry."""
        payload = message.payload
        if len(payload) > MAXIMUM_DATA_BYTES:
            raise InvalidTelemetry(
                f"the payload has {len(payload):,} bytes; Pub/Sub takes {MAXIMUM_DATA_BYTES:,}"
            )
        if message.user_properties:
            attributes = self._telemetry(message).attributes()
            return framed(payload, b"".join(map(attribute, attributes, attributes.values())))
        topic = message.topic
        fixed, digest = _of_topic(self._layout, topic, message.content_type)
        received_time = message.received_time
        if received_time != self._received_time:
            # Messages that came in one read of the socket have one time.
            self._received_time = received_time
            moment = datetime.fromtimestamp(received_time, UTC)
            self._received = attribute("receivedTime", format_time(moment))
        identity = digest.copy()
        identity.update(payload)
        return framed(
            payload,
            b"".join((fixed, _MESSAGE_ID, identity.hexdigest().encode(), self._received)),
        )

    def _telemetry(self, message: MqttMessage) -> Telemetry:
        return Telemetry.from_mqtt(
            message.topic,
            message.payload,
            received_time=message.received_time,
            user_properties=message.user_properties,
            content_type=message.content_type,
            layout=self._layout,
        )


_MESSAGE_ID = attribute("messageId", "0" * 32)[:-32]
"""A messageId attribute up to its value, which is a digest of 32 characters."""


@lru_cache(maxsize=65_536)
def _of_topic(layout: Layout, topic: str, content_type: str | None) -> tuple[bytes, Any]:
    """Returns the attributes that the topic decides, and the digest of the topic's part of a
    content id. Raises InvalidTelemetry.
    """
    attributes = Telemetry.from_mqtt(
        topic, b"", received_time=0.0, content_type=content_type, layout=layout
    ).attributes()
    del attributes["messageId"], attributes["receivedTime"]
    fixed = b"".join(map(attribute, attributes, attributes.values()))
    return fixed, blake2b(topic.encode() + b"\0", digest_size=16)


def _ordered(message: MqttMessage, layout: Layout) -> PubsubMessage:
    telemetry = Telemetry.from_mqtt(
        message.topic,
        message.payload,
        received_time=message.received_time,
        user_properties=message.user_properties,
        content_type=message.content_type,
        layout=layout,
    )
    return PubsubMessage(
        telemetry.payload, telemetry.attributes(), ordering_key=telemetry.device_id
    )


def refused_to_rejected(refused: Refused, topic: str) -> Rejected:
    """Returns what the dead letters are told of a message that Pub/Sub refused."""
    return Rejected(
        stage="publish",
        reason=refused.reason,
        origin=topic,
        raw=refused.message.data,
        attributes=refused.message.attributes,
        time=datetime.now(UTC),
    )


def _rejected(message: MqttMessage, reason: str) -> Rejected:
    return Rejected(
        stage="telemetry",
        reason=reason,
        origin=message.topic,
        raw=message.payload,
        attributes=dict(message.user_properties),
        time=datetime.fromtimestamp(message.received_time, UTC),
    )
