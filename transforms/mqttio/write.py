"""``WriteToMqtt``: messages to topics, each with its outcome.

Guarantee
  At least once. A bundle ends when the broker has answered every message of it; a bundle that is
  tried again, and a connection that breaks, publish again.
Unit of parallelism
  A worker process: one connection, shared by its threads, with a bounded window of
  unacknowledged messages.
Ordering
  Within a bundle, until a connection breaks.
Errors
  What the broker refuses is an outcome, not an error. A broker that is away is waited for, then
  mqtt.errors.ConnectionLost fails the bundle; a first connection that is refused, or not made in
  time, raises mqtt.errors.ConnectError.
Part of the specification
  PUBLISH at QoS 1, PUBACK with its reason codes, receive maximum, maximum packet size (MQTT 5.0
  sections 3.3, 3.4, 4.9). On MQTT 3.1.1 a PUBACK says nothing, so ``accepted`` there does not
  say that anybody subscribes.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue
from mqtt5 import PubAckReasonCode

from mqtt.client import Message, Publication, Publisher
from mqtt.codec import ProtocolVersion
from transforms.lists import MessageList, MessageListCoder
from transforms.mqttio.settings import BrokerSettings
from transforms.shared import Shared

_CHUNK = 250
"""Messages that are sent together, where they come one by one."""
_NO_MATCHING_SUBSCRIBERS = 0x10
_TOLD_CHARACTERS = 300
"""A reason string may have 64 KiB."""
_WORDS = {
    0x83: "implementation specific error, or the broker closes the connection whenever it is sent",
    0x81: "a property is nothing that MQTT can carry",
    0x95: "larger than the broker takes",
    0x9A: "the broker retains no messages",
}


class EncodedMessages(MessageList[Any]):
    """The keys of messages that were encoded before for one protocol version (``mqtt.outgoing``),
    and the messages: the head and the tail of each.
    """

    def __init__(self, protocol: ProtocolVersion) -> None:
        super().__init__()
        self.protocol = protocol
        self.heads: list[bytes] = []
        self.tails: list[bytes] = []

    def add(self, key: Any, head: bytes, tail: bytes) -> None:
        """Adds a message."""
        self.append(key)
        self.heads.append(head)
        self.tails.append(tail)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_encoded_messages, (self.protocol, list(self), self.heads, self.tails))


def _encoded_messages(
    protocol: ProtocolVersion, keys: list[Any], heads: list[bytes], tails: list[bytes]
) -> EncodedMessages:
    messages = EncodedMessages(protocol)
    messages += keys
    messages.heads, messages.tails = heads, tails
    return messages


class PublishResult(NamedTuple):
    """What the broker said of one message.

    ``accepted``: it took it. ``no_subscriber``: it took it and nobody subscribes. ``rejected``:
    it refused, or the message can't be sent; ``reason_code`` is MQTT 5.0's, ``reason`` its words,
    and behind them the broker's own where it gave any.
    """

    outcome: Literal["accepted", "no_subscriber", "rejected"]
    reason_code: int
    reason: str

    @classmethod
    def of(cls, reason_code: int, told: str = "") -> PublishResult:
        """Returns the result that a PUBACK's reason code and its reason string stand for."""
        if reason_code == _NO_MATCHING_SUBSCRIBERS:
            return cls("no_subscriber", reason_code, "nobody subscribes to the topic")
        if reason_code < 0x80:
            return cls("accepted", reason_code, "")
        words = _WORDS.get(reason_code)
        if words is None:
            try:
                words = PubAckReasonCode(reason_code).name.lower().replace("_", " ")
            except ValueError:
                words = "reason unknown"
        if told:
            words = f"{words}; the broker says: {told[:_TOLD_CHARACTERS]}"
        return cls("rejected", reason_code, words)


@dataclass(frozen=True, kw_only=True)
class PublishSettings:
    """How a worker publishes; see WriteToMqtt."""

    broker: BrokerSettings
    client_id: str
    maximum_in_flight: int
    retry_seconds: float

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("client_id: must not be empty")
        if not 1 <= self.maximum_in_flight <= 65_535:
            raise ValueError(
                f"maximum_in_flight: must be 1 to 65,535, got {self.maximum_in_flight}"
            )
        if self.retry_seconds <= 0:
            raise ValueError(f"retry_seconds: must be more than 0, got {self.retry_seconds}")


class WriteToMqtt(beam.PTransform):
    """Publishes; see the module for guarantee, parallelism, ordering and errors.

    Args:
      broker: how to reach the brokers.
      client_id: prefix of the client identifiers. A worker process adds an ending of its own:
        nothing is kept for it at the broker, so nothing is found again by it.
      maximum_in_flight: unacknowledged messages; the broker's receive maximum may lower it.
      retry_seconds: how long a broker that is away is waited for.
      lists: whether both ends are MessageLists, which cost a fraction of what elements cost: one
        comes out for each that goes in, as soon as it is answered.

    Input: PCollection of ``(key, mqtt.client.Message)`` in the global window, or of lists of
    them or :class:`EncodedMessages`; the key is anything that tells the caller which message it
    was.
    Output: PCollection of ``(key, PublishResult)``, or of lists of them.
    """

    def __init__(
        self,
        *,
        broker: BrokerSettings,
        client_id: str,
        maximum_in_flight: int = 10_000,
        retry_seconds: float = 600.0,
        lists: bool = False,
    ) -> None:
        super().__init__()
        self._lists = lists
        self._settings = PublishSettings(
            broker=broker,
            client_id=client_id,
            maximum_in_flight=maximum_in_flight,
            retry_seconds=retry_seconds,
        )

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Builds the sink. Raises ValueError for windowed input."""
        if not isinstance(pcoll.windowing.windowfn, GlobalWindows):
            raise ValueError(
                "WriteToMqtt takes the global window; put beam.WindowInto(GlobalWindows()) before"
            )
        publish = beam.ParDo(_Publish(self._settings, lists=self._lists))
        if self._lists:
            publish = publish.with_output_types(MessageList)
        return pcoll | "Publish" >> publish


class _Publish(beam.DoFn):
    """Publishes a bundle, and gives the outcomes of each part of it once it is answered."""

    def __init__(self, settings: PublishSettings, *, lists: bool) -> None:
        self._settings = settings
        self._lists = lists
        self._outcomes = {
            outcome: Metrics.counter("mqtt", outcome)
            for outcome in ("accepted", "no_subscriber", "rejected")
        }
        # From the first PUBLISH of those that were sent together to their last PUBACK.
        self._latency = Metrics.distribution("mqtt", "publish_latency_ms")

    def setup(self) -> None:
        settings = self._settings
        self._worker = _OPEN.get(settings, lambda: _Worker(settings))

    def start_bundle(self) -> None:
        self._under_way: deque[_Sent] = deque()
        self._waiting: list[tuple[Any, Message]] = []

    def process(self, element: Any) -> Iterator[Any]:
        if self._lists:
            self._send(element)
        else:
            self._waiting.append(element)
            if len(self._waiting) >= _CHUNK:
                self._send_waiting()
        under_way = self._under_way
        while under_way and under_way[0].publication.answered:
            yield from self._results(under_way.popleft())

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._send_waiting()
        window = [GlobalWindow()]
        while self._under_way:
            for result in self._results(self._under_way.popleft()):
                yield WindowedValue(result, Timestamp.now(), window)
        self._worker.report()

    def _send_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._send(waiting)

    def _send(self, element: EncodedMessages | Sequence[tuple[Any, Message]]) -> None:
        settings, publisher = self._settings, self._worker.publisher
        publisher.wait_ready(settings.broker.start_timeout_seconds)
        publication = publisher.open(timeout_seconds=settings.retry_seconds)
        if isinstance(element, EncodedMessages):
            if element.protocol is not settings.broker.protocol:
                raise ValueError(
                    f"messages encoded for MQTT {element.protocol.name} can't be sent over"
                    f" {settings.broker.protocol.name}: one protocol must be given to both"
                )
            keys: Sequence[Any] = element
            self._under_way.append(_Sent(keys, publication, time.monotonic()))
            publication.add_encoded(element.heads, element.tails)
        else:
            keys = [key for key, _ in element]
            self._under_way.append(_Sent(keys, publication, time.monotonic()))
            publication.add(message for _, message in element)

    def _results(self, sent: _Sent) -> Iterator[Any]:
        codes, told = sent.publication.wait(), sent.publication.told
        self._latency.update(int(1_000 * (time.monotonic() - sent.at)))
        counts = Counter(codes)
        results = {code: PublishResult.of(code) for code in counts}
        for code, count in counts.items():
            self._outcomes[results[code].outcome].inc(count)
        said = [results[code] for code in codes]
        for index, words in told.items():
            said[index] = PublishResult.of(codes[index], words)
        pairs = zip(sent.keys, said, strict=True)
        if self._lists:
            yield MessageList(pairs)
        else:
            yield from pairs


class _Sent(NamedTuple):
    """Messages that were sent together."""

    keys: Sequence[Any]
    publication: Publication
    at: float


class _Worker:
    """This process's publisher, and its counts as Beam metrics."""

    def __init__(self, settings: PublishSettings) -> None:
        ending = secrets.token_hex(4)
        self.publisher = Publisher(
            settings.broker.connection(f"{settings.client_id}-{ending}"),
            maximum_in_flight=settings.maximum_in_flight,
        )

    def report(self) -> None:
        """Adds what was counted since the last report; called from a bundle's thread."""
        for name, count in self.publisher.counters.drain().items():
            Metrics.counter("mqtt", name).inc(count)


beam.coders.registry.register_coder(EncodedMessages, MessageListCoder)

_OPEN: Shared[PublishSettings, _Worker] = Shared(
    lambda worker, settle_seconds: worker.publisher.close()
)
