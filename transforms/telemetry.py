"""MQTT messages to Pub/Sub messages: who, when and where as attributes, the bytes untouched."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from schemas.errors import InvalidTelemetry
from schemas.layout import Layout
from schemas.messages import DeviceRegistry, Rejected, Telemetry
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
      registry: adds IoT Core's attributes (projectId and the like) for consumers that read them.
      device_numbers: path, local or gs://, of a file of ``device id,number`` lines for
        ``deviceNumId``; read when a worker starts.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        ordered: bool = False,
        registry: DeviceRegistry | None = None,
        device_numbers: str | None = None,
    ) -> None:
        self._layout = layout
        self._ordered = ordered
        self._registry = registry
        self._device_numbers = device_numbers
        self._rejected = Metrics.counter("telemetry", "rejected")

    def setup(self) -> None:
        """Makes the encoder, which keeps caches and is not pickled."""
        registry = self._registry
        if registry is not None and self._device_numbers is not None:
            numbers = read_device_numbers(self._device_numbers)
            registry = dataclasses.replace(registry, device_numbers=numbers)
        self._framer = TelemetryFramer(self._layout, registry)

    def process(self, element: MessageList[MqttMessage]) -> Iterator[Any]:
        """Gives the list's messages encoded, and those that are rejected."""
        framer = self._framer
        messages: FramedMessages = FramedMessages()
        for message in element:
            try:
                if self._ordered:
                    yield framer.ordered(message)
                else:
                    messages.append(framer.frame(message))
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

    def __init__(self, layout: Layout, registry: DeviceRegistry | None = None) -> None:
        self._layout = layout
        self._registry = registry
        self._received_time = -1.0
        self._received = b""
        self._of_topic = lru_cache(maxsize=65_536)(self._encode_topic)

    def frame(self, message: MqttMessage) -> bytes:
        """Returns the message, framed for a publish request. Raises InvalidTelemetry."""
        payload = message.payload
        if len(payload) > MAXIMUM_DATA_BYTES:
            raise InvalidTelemetry(
                f"the payload has {len(payload):,} bytes; Pub/Sub takes {MAXIMUM_DATA_BYTES:,}"
            )
        if message.user_properties:
            attributes = self._telemetry(message).attributes(self._registry)
            return framed(payload, b"".join(map(attribute, attributes, attributes.values())))
        topic = message.topic
        fixed, digest = self._of_topic(topic, message.content_type)
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

    def ordered(self, message: MqttMessage) -> PubsubMessage:
        """Returns the message with the device id as its ordering key. Raises InvalidTelemetry."""
        telemetry = self._telemetry(message)
        return PubsubMessage(
            telemetry.payload,
            telemetry.attributes(self._registry),
            ordering_key=telemetry.device_id,
        )

    def _encode_topic(self, topic: str, content_type: str | None) -> tuple[bytes, Any]:
        """Returns the attributes that the topic decides, and the digest of the topic's part of a
        content id. Raises InvalidTelemetry.
        """
        attributes = Telemetry.from_mqtt(
            topic, b"", received_time=0.0, content_type=content_type, layout=self._layout
        ).attributes(self._registry)
        del attributes["messageId"], attributes["receivedTime"]
        fixed = b"".join(map(attribute, attributes, attributes.values()))
        return fixed, blake2b(topic.encode() + b"\0", digest_size=16)

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


def read_device_numbers(path: str) -> dict[str, str]:
    """Reads a file of ``device id,number`` lines.

    Raises:
      ValueError: the file can't be read, or a line is none; names path and line.
    """
    try:
        with FileSystems.open(path) as file:
            text = file.read().decode()
    except (BeamIOError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"device numbers {path}: {error}") from error
    numbers = {}
    for number, line in enumerate(text.splitlines(), 1):
        device_id, comma, value = line.rpartition(",")
        if not line.strip():
            continue
        if not comma or not device_id or not value.strip().isdigit():
            raise ValueError(
                f"device numbers {path}, line {number}: must be DEVICE,NUMBER, got {line[:80]!r}"
            )
        numbers[device_id] = value.strip()
    return numbers


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
