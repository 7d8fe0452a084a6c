"""The MQTT source, as a part of a pipeline: its options, its check at the start, its read.

    ReadFromMqtt -> lists of MqttMessage

A message is acknowledged to the broker when everything fused with the read has been done, so
nothing may stand between it and its first durable sink that breaks the fusion.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import apache_beam as beam

from mqtt.codec import ProtocolVersion
from pipelines.broker_options import BrokerOptions, layout_option
from pipelines.options import OptionError, option
from pipelines.preflight import Broker, Need
from pipelines.readers import integer, topic_filters
from schemas.layout import Layout
from transforms.mqttio import ReadFromMqtt

_LOGGER = logging.getLogger(__name__)

_COST_OF_V311 = (
    "MQTT 3.1.1 has no properties and no reason codes: message ids are made from the content (two"
    " equal payloads without an id or a time in them can't be told from a redelivery), event times"
    " and schema ids must stand in the payload"
)
_COST_OF_PLAIN = (
    ". One plain subscription: one connection takes all messages, on one worker, and more workers"
    " make it no faster; --shards=N does, where the broker has shared subscriptions"
)


@dataclass(frozen=True, kw_only=True)
class SubscriptionOptions(BrokerOptions):
    """Options of a pipeline that subscribes to telemetry."""

    topics: tuple[str, ...] = option(
        "MQTT topic filters, separated by commas, with + and #; without it the layout's own.",
        parse=topic_filters,
        example="devices/+/telemetry/#",
        default=(),
    )
    layout: Layout = layout_option
    shards: int = option(
        "Connections that share the subscription ($share); more than one needs a broker with"
        " shared subscriptions.",
        parse=integer(1, 1_000),
        example="4",
        default=1,
    )
    shards_before: int | None = option(
        "How many shards there were, where they were more: what the broker keeps for those that go"
        " is read first, and then their sessions end.",
        parse=integer(2, 1_000),
        example="8",
        default=None,
    )
    session_expiry_seconds: int = option(
        "How long the broker keeps messages while the pipeline is away.",
        parse=integer(60, 0xFFFFFFFF),
        example="86400",
        default=86_400,
    )
    receive_maximum: int = option(
        "Messages a shard may hold unacknowledged.",
        parse=integer(1, 65_535),
        example="30000",
        default=30_000,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards_before is not None and self.shards_before <= self.shards:
            raise OptionError(
                f"--shards_before={self.shards_before} must be more than --shards={self.shards}: it"
                " is for the start after which there are fewer; leave it out"
            )

    def filters(self) -> tuple[str, ...]:
        """The topic filters: those given, else the layout's."""
        return self.topics or self.layout.telemetry_filters()


def needs(options: SubscriptionOptions) -> tuple[Need, ...]:
    """Returns the broker, with the right to the filters."""
    broker = Broker(
        settings=options.broker_settings(),
        client_id=options.client_id,
        filters=options.filters(),
        shared=options.shards > 1,
    )
    return (broker,)


def tell_costs(options: SubscriptionOptions) -> None:
    """Warns of what MQTT 3.1.1 lacks."""
    if options.protocol is ProtocolVersion.V311:
        _LOGGER.warning(_COST_OF_V311 + (_COST_OF_PLAIN if options.shards == 1 else ""))


def read(pipeline: beam.Pipeline, options: SubscriptionOptions) -> beam.PCollection:
    """Wires the read; gives lists of MqttMessage."""
    return pipeline | "ReadFromMqtt" >> ReadFromMqtt(
        broker=options.broker_settings(),
        client_id=options.client_id,
        topics=options.filters(),
        shards=options.shards,
        shards_before=options.shards_before,
        session_expiry_seconds=options.session_expiry_seconds,
        receive_maximum=options.receive_maximum,
        lists=True,
    )
