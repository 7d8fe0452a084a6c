"""The unbounded source behind ``ReadFromMqtt``: what a message is, and how a shard is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from apache_beam.io.unbounded_source import UnboundedSource
from apache_beam.utils.timestamp import Timestamp

from mqtt.client import Batch, LeavingSubscriber, Subscriber
from transforms.inbox import InboxMark, InboxMarkCoder, InboxReader
from transforms.lists import MessageList
from transforms.mqttio.subscriptions import SubscriptionSettings, subscription


class MqttMessage(NamedTuple):
    """A received PUBLISH.

    ``received_time`` is in seconds since the epoch, of the worker's clock. The properties of MQTT
    5.0 are empty on 3.1.1.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    received_time: float
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


class MqttReader(InboxReader[Batch]):
    """Reads one shard's connection, and comes to an end when its subscriber has left."""

    def __init__(self, subscriber: Subscriber, settings: SubscriptionSettings) -> None:
        super().__init__(
            subscriber,
            metrics="mqtt",
            most_messages=settings.batch_messages,
            watermark_lag_seconds=settings.watermark_lag_seconds,
        )
        self._subscriber = subscriber

    def advance(self) -> bool:
        """Takes the next messages; raises ConnectError where there was never a connection."""
        # Asked first: what came before it left is still to be taken.
        left = isinstance(self._subscriber, LeavingSubscriber) and self._subscriber.left
        advanced = super().advance()
        if left and not advanced:
            self.end()
        return advanced

    def get_current(self) -> MessageList[MqttMessage]:
        """The messages taken last, in the order received."""
        batch = self.current
        assert batch is not None, "get_current without a successful advance"
        received = batch.received_time
        return MessageList(
            MqttMessage(
                packet.topic,
                packet.payload,
                int(packet.qos),
                packet.retain,
                packet.duplicate,
                received,
                packet.content_type,
                packet.response_topic,
                packet.correlation_data,
                tuple(packet.user_properties),
            )
            for packet in batch.packets
        )

    def get_current_timestamp(self) -> Timestamp:
        """When the oldest of the current messages was received."""
        assert self.current is not None, "get_current_timestamp without a successful advance"
        return Timestamp(self.current.received_time)


class MqttShard(UnboundedSource):
    """One shard of a subscription, or all of them before the split.

    This class is pickled into the restriction and outlives an update of the job: its module path
    and its two attributes are a contract. What the client id stands for is looked up where it is
    read (see ``subscriptions``).
    """

    def __init__(self, client_id: str, shard: int | None = None, shards: int = 1) -> None:
        self.client_id = client_id
        self.shard = shard
        self.shards = shards

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable[MqttShard]:
        """Returns a source for each shard, however many are wished for."""
        if self.shard is not None:
            return [self]
        return [MqttShard(self.client_id, shard) for shard in range(self.shards)]

    def create_reader(self, options: Any, checkpoint_mark: InboxMark[Batch] | None) -> MqttReader:
        """Returns a reader on the shard's connection. Raises LookupError without settings."""
        settings, subscriber = subscription(self.client_id, self.shard or 0)
        return MqttReader(subscriber, settings)

    def get_checkpoint_mark_coder(self) -> InboxMarkCoder:
        """The coder of marks."""
        return InboxMarkCoder()
