"""``ReadFromMqtt``: MQTT topics as an unbounded PCollection, native Python, no cross-language.

Guarantee
  At least once. A message is acknowledged to the broker (PUBACK) when the bundle that read it is
  finalized, that is when everything fused with the read has been done (on Flink one checkpoint
  later), on the connection that received it. So put the first durable write into the read's own
  stage: behind a shuffle, a message is acknowledged while it waits in the runner's memory, and on
  runners whose memory is not durable it can be lost there.
  A crash, a failed bundle or a lost connection brings messages a second time.
Unit of parallelism
  A shard: one connection, one thread, one process at a time. Several shards share one
  subscription (``$share/CLIENT_ID/FILTER``), and the broker deals messages out among them.
Ordering
  With one shard the order of arrival within a bundle, until something is redelivered. With
  several there is none: one device's messages go to several shards.
Watermark
  The receipt of the oldest message that waits; the clock when none does, so windows close while
  nothing arrives.
Part of the specification
  SUBSCRIBE at QoS 1, clean start off, session expiry, receive maximum, shared subscriptions
  (MQTT 5.0 sections 3.8, 3.1.2.4, 3.1.2.11, 4.8.2); MQTT 3.1.1 with clean session off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from mqtt.topics import TopicFilter
from transforms.held_back import finalizes_early
from transforms.inbox import ReadInbox
from transforms.lists import MessageList
from transforms.mqttio.settings import BrokerSettings
from transforms.mqttio.source import MqttMessage, MqttShard
from transforms.mqttio.subscriptions import SubscriptionSettings, register

_CLIENT_IDS: WeakKeyDictionary[beam.Pipeline, set[str]] = WeakKeyDictionary()


class ReadFromMqtt(beam.PTransform):
    """Reads topics; see the module for guarantee, parallelism and ordering.

    Args:
      broker: how to reach the brokers.
      client_id: prefix of the shards' client identifiers; the same at every start, and of this
        pipeline alone. It finds the session again that holds the messages.
      topics: topic filters, ``+`` and ``#`` allowed, that do not overlap.
      shards: connections that share the load.
      shards_before: how many did in the run before, where they were more. What the broker keeps
        for those that go is read, then their sessions end; without it that is lost when their
        sessions expire. In an updated job, which keeps its shards, those beyond ``shards`` go
        without it.
      shared: whether the subscription is a shared one; None: if there are several shards.
      session_expiry_seconds: how long the broker keeps messages while the pipeline is away.
      receive_maximum: messages a shard may hold unacknowledged, 1 to 65,535.
      unacked_seconds: after so long unacknowledged the broker is made to send messages again.
      event_time: gives a message's event time in seconds since the epoch, or None for its
        receipt; None: always the receipt.
      event_time_lag_seconds: how far event times may lie behind the receipt before Beam counts
        the message as late.
      lists: whether to give ``MessageList[MqttMessage]`` as read, stamped with the receipt of the
        oldest, which costs a fraction of what elements cost.

    Output: PCollection of MqttMessage, or of lists of them.

    Raises:
      ValueError: when built, for settings that can't work.
      mqtt.errors.ConnectError: from the worker, if the first connection is refused, or not made
        within ``broker.start_timeout_seconds``. Later losses are mended, logged and counted.
    """

    def __init__(
        self,
        *,
        broker: BrokerSettings,
        client_id: str,
        topics: Sequence[str],
        shards: int = 1,
        shards_before: int | None = None,
        shared: bool | None = None,
        session_expiry_seconds: int = 86_400,
        receive_maximum: int = 30_000,
        unacked_seconds: float = 600.0,
        event_time: Callable[[MqttMessage], float | None] | None = None,
        event_time_lag_seconds: float = 0.0,
        lists: bool = False,
    ) -> None:
        super().__init__()
        if lists and event_time is not None:
            raise ValueError("event_time: lists are stamped with their receipt; leave one out")
        if event_time_lag_seconds < 0:
            raise ValueError("event_time_lag_seconds: must be 0 or more")
        self._settings = SubscriptionSettings(
            broker=broker,
            client_id=client_id,
            filters=tuple(map(TopicFilter.parse, topics)),
            shards=shards,
            shards_before=shards_before,
            shared=shards > 1 if shared is None else shared,
            session_expiry_seconds=session_expiry_seconds,
            receive_maximum=receive_maximum,
            unacked_seconds=unacked_seconds,
            watermark_lag_seconds=event_time_lag_seconds,
        )
        self._event_time = event_time
        self._lists = lists

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds the read, and behind it the step that takes lists apart."""
        taken = _CLIENT_IDS.setdefault(pbegin.pipeline, set())
        if self._settings.client_id in taken:
            raise ValueError(
                f"client_id {self._settings.client_id!r} is read twice in this pipeline: give each"
                " ReadFromMqtt one of its own, or one of them all the topics"
            )
        taken.add(self._settings.client_id)
        source = MqttShard(self._settings.client_id, shards=self._settings.all_shards)
        lists = (
            pbegin
            # Not a Create: the names of the steps within it bear numbers of Beam's own lines,
            # and what bears another name can't be updated in place.
            | "Start" >> beam.Impulse()
            | "Subscription" >> beam.Map(_subscription, source).with_output_types(MqttShard)
            | "Read"
            >> beam.ParDo(
                ReadInbox(
                    register,
                    self._settings,
                    hold_back=finalizes_early(pbegin.pipeline.options),
                )
            ).with_output_types(MessageList)
        )
        if self._lists:
            return lists
        return lists | "Messages" >> beam.ParDo(_TakeApart(self._event_time))


def _subscription(impulse: bytes, source: MqttShard) -> MqttShard:
    return source


class _TakeApart(beam.DoFn):
    """Lists of messages to messages, each with its own timestamp."""

    def __init__(self, event_time: Callable[[MqttMessage], float | None] | None) -> None:
        self._event_time = event_time

    def process(self, element: MessageList[MqttMessage]) -> Iterable[TimestampedValue]:
        event_time = self._event_time
        for message in element:
            seconds = event_time(message) if event_time is not None else None
            yield TimestampedValue(
                message, Timestamp(message.received_time if seconds is None else seconds)
            )
