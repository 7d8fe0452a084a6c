"""Receiving: a queue of messages that are acknowledged by hand, once they are stored elsewhere.

The subscriber owns the queue; readers come and go. A message is in one of three places: queued,
handed out in a :class:`Batch`, or done. A batch ends by ``acknowledge`` (its PUBACKs are sent, if
the connection that delivered it still stands) or by ``give_back`` (its messages are handed out
again). When the connection is lost, what was queued from it is forgotten, because the broker
sends it again; a batch of it may still be worked on, and then there are two of it: at least once.

MQTT 5.0 section 4.4 (message delivery retry) and 4.9 (flow control).
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from mqtt5 import (
    ConnAckPacket,
    Packet,
    PublishPacket,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    UnsubscribePacket,
)
from mqtt5 import TopicFilter as WireFilter

from mqtt.client.counts import Counts
from mqtt.client.link import Link
from mqtt.client.settings import ConnectionSettings
from mqtt.client.wire import Wire
from mqtt.errors import ConnectError, ConnectionLost, ProtocolError, SubscriptionRefused
from mqtt.topics import TopicFilter

_SUBSCRIBE_ID = 1
_UNSUBSCRIBE_ID = 2
_SUBACK_SECONDS = 10.0
_NO_GENERATION = 0
_TOGETHER_SECONDS = 0.1
"""Reads of the socket at most so far apart are handed out as one batch, with one time."""
_MOST_HELD_BYTES = 64 * 1024 * 1024
"""Payload bytes queued and handed out; more is left in the socket, as a receive maximum counts
messages, whatever their size."""


@dataclass(slots=True, eq=False)
class Batch:
    """Messages handed out together, in the order received.

    ``received_time`` (epoch seconds) is that of the first; the others came within a tenth of a
    second. ``generation`` is the connection that delivered them.
    """

    packets: list[PublishPacket]
    received_time: float
    generation: int
    taken_at: float
    payload_bytes: int


class Subscriber:
    """One connection subscribed to some filters at QoS 1 at most.

    Args:
      settings: the connection; ``receive_maximum`` bounds what is queued and unacknowledged.
      filters: what to subscribe to.
      stale_filters: subscriptions that an earlier run of this client id may have left behind and
        that are to end (its plain filters where it now shares them, say).
      unacked_seconds: a batch that is neither acknowledged nor given back for so long closes the
        connection, so that the broker sends its messages again.
      start_timeout_seconds: how long :meth:`check_started` is patient.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        filters: Sequence[TopicFilter],
        *,
        stale_filters: Sequence[TopicFilter] = (),
        unacked_seconds: float = 600.0,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        if not filters:
            raise ValueError("filters: at least one topic filter is needed")
        self.counters = Counts()
        self._ack_latencies_ms: deque[int] = deque(maxlen=1_000)
        self._filters = tuple(filters)
        self._stale = tuple(stale_filters)
        self._unacked_seconds = unacked_seconds
        self._start_by = time.monotonic() + start_timeout_seconds
        self._condition = threading.Condition()
        # What one read of the socket brought, with its time: an object a message would cost more
        # than the message.
        self._queue: deque[tuple[list[PublishPacket], float]] = deque()
        self._queued = 0
        self._queued_bytes = 0
        self._handed_out: dict[int, Batch] = {}
        self._handed_out_bytes = 0
        self._acknowledging = 0
        self._waiting = 0
        self._asked_at = 0.0
        self._generation = _NO_GENERATION
        self._wire: Wire | None = None
        self._subscribe_by: float | None = None
        self._limit = 2 * settings.receive_maximum
        self._link = Link(settings, self, self.counters)
        self._link.start()

    def wait_ready(self, timeout_seconds: float) -> None:
        """Waits until the filters are granted. Raises ConnectError."""
        self._link.wait_ready(timeout_seconds)

    def check_started(self) -> None:
        """Raises ConnectError if the filters were never granted, and never will be or not in
        time; what breaks later is mended by the connection itself.
        """
        if self._link.ready:
            return
        error = self._link.error
        permanent = isinstance(error, ConnectError) and error.permanent
        if permanent or time.monotonic() > self._start_by:
            self._link.wait_ready(0)

    @property
    def link(self) -> Link:
        """The connection's keeper, for its counters and its last error."""
        return self._link

    @property
    def stands(self) -> bool:
        """Whether the filters were granted once: from then on the broker keeps messages for us."""
        return self._link.ready

    @property
    def oldest_time(self) -> float | None:
        """When the oldest message still queued was received (epoch seconds); None if none is."""
        with self._condition:
            return self._queue[0][1] if self._queue else None

    def take(self, maximum: int, timeout_seconds: float) -> Batch | None:
        """Returns up to ``maximum`` queued messages, or None if none came in time.

        All messages of a batch are of one generation. Any thread.
        """
        with self._condition:
            if not self._queue and timeout_seconds:
                self._waiting += 1
                self._condition.wait(timeout_seconds)
                self._waiting -= 1
            self._asked_at = time.monotonic()
            queue = self._queue
            if not queue:
                return None
            packets, received_time = queue.popleft()
            if len(packets) > maximum:
                queue.appendleft((packets[maximum:], received_time))
                packets = packets[:maximum]
            while (
                queue
                and len(packets) + len(queue[0][0]) <= maximum
                and queue[0][1] - received_time < _TOGETHER_SECONDS
            ):
                packets = packets + queue.popleft()[0]
            size = _payload_bytes(packets)
            self._queued -= len(packets)
            self._queued_bytes -= size
            batch = Batch(packets, received_time, self._generation, time.monotonic(), size)
            self._handed_out[id(batch)] = batch
            self._handed_out_bytes += size
            return batch

    def acknowledge(self, batches: Sequence[Batch]) -> int:
        """Sends the batches' PUBACKs and returns how many. Any thread.

        A batch whose connection is gone is forgotten: the broker has sent its messages again.
        """
        with self._condition:
            self._acknowledging += 1
        try:
            return self._acknowledge(batches)
        finally:
            with self._condition:
                self._acknowledging -= 1
                self._condition.notify_all()

    def _acknowledge(self, batches: Sequence[Batch]) -> int:
        with self._condition:
            wire, generation = self._wire, self._generation
            ours = [
                batch
                for batch in batches
                if self._take_back(batch) and batch.generation == generation
            ]
        acks = [
            b"\x40\x02" + packet.packet_id.to_bytes(2, "big")
            for batch in ours
            for packet in batch.packets
            if packet.packet_id is not None
        ]
        if not acks or wire is None:
            return 0
        try:
            wire.send_bytes(b"".join(acks))
        except ConnectionLost:
            return 0
        self.counters.add("acked", len(acks))
        now = time.time()
        with self._condition:
            for batch in ours:
                self._ack_latencies_ms.append(int(1_000 * (now - batch.received_time)))
        return len(acks)

    def give_back(self, batches: Sequence[Batch]) -> None:
        """Puts handed-out messages back at the queue's head, oldest first. Any thread."""
        with self._condition:
            for batch in reversed(batches):
                if not self._take_back(batch):
                    continue
                current = batch.generation == self._generation
                packets = [
                    packet for packet in batch.packets if current or packet.packet_id is None
                ]
                if packets:
                    self._queue.appendleft((packets, batch.received_time))
                    self._queued += len(packets)
                    self._queued_bytes += _payload_bytes(packets)
            self._condition.notify()

    def drain_counters(self) -> tuple[Counter[str], list[int]]:
        """Returns what was counted since the last call, the link's counters among it, and the
        milliseconds from receipt to acknowledgement of the batches since then (the last 1,000).
        """
        with self._condition:
            latencies = list(self._ack_latencies_ms)
            self._ack_latencies_ms.clear()
        return self.counters.drain(), latencies

    def close(self, *, settle_seconds: float = 0.0) -> None:
        """Disconnects; the session stays at the broker as long as its expiry says.

        ``settle_seconds``: how long the acknowledgements of what is handed out are waited for.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: not self._handed_out and not self._acknowledging, settle_seconds
            )
        self._link.close()

    # The link's side; see mqtt.client.link.Session.

    def connected(self, wire: Wire, answer: ConnAckPacket, generation: int) -> None:
        """Subscribes anew: that a session is present does not say to what."""
        self._stands_on(wire, generation)
        shared = next((item for item in self._filters if item.share is not None), None)
        if shared is not None and not answer.shared_subscription_available:
            raise SubscriptionRefused(
                f"the broker has no shared subscriptions, which {str(shared)!r} needs;"
                " use one shard and a plain subscription",
                topic_filter=str(shared),
                reason_code=0x9E,
            )
        if self._stale:
            patterns = [str(item) for item in self._stale]
            wire.send(UnsubscribePacket(_UNSUBSCRIBE_ID, patterns))
        self._subscribe_by = time.monotonic() + _SUBACK_SECONDS
        wire.send(
            SubscribePacket(
                _SUBSCRIBE_ID,
                [
                    WireFilter(
                        str(item),
                        max_qos=QoS.AT_LEAST_ONCE,
                        retain_as_published=True,
                        retain_handling=RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
                    )
                    for item in self._filters
                ],
            )
        )

    def received(self, packets: list[Packet]) -> None:
        """Queues PUBLISH packets; checks SUBACK."""
        messages = [packet for packet in packets if type(packet) is PublishPacket]
        if len(messages) != len(packets):
            for packet in packets:
                if type(packet) is SubAckPacket and packet.packet_id == _SUBSCRIBE_ID:
                    self._check_granted(packet)
        if messages:
            self.counters.add("received", len(messages))
            self.counters.add("redelivered", sum(message.duplicate for message in messages))
            with self._condition:
                # Dated under the lock: whoever finds the queue empty may call any earlier time
                # past.
                self._queue.append((messages, time.time()))
                self._queued += len(messages)
                self._queued_bytes += _payload_bytes(messages)
                self._condition.notify()

    def lost(self, told: str) -> None:
        """Forgets what the broker will send again; of QoS 0 nobody else has a copy."""
        with self._condition:
            self._wire, self._generation = None, _NO_GENERATION
            self._subscribe_by = None
            kept = [
                ([packet for packet in packets if packet.packet_id is None], received_time)
                for packets, received_time in self._queue
            ]
            self._queue = deque(item for item in kept if item[0])
            self._queued = sum(len(packets) for packets, _ in self._queue)
            self._queued_bytes = sum(_payload_bytes(packets) for packets, _ in self._queue)

    def wanted(self, since: float) -> bool:
        """Whether anybody takes from the queue."""
        with self._condition:
            return bool(self._waiting) or self._asked_at > since

    def tick(self, now: float) -> None:
        """Raises ConnectionLost where SUBACK or an acknowledgement of ours is overdue."""
        if self._subscribe_by is not None and now > self._subscribe_by:
            raise ConnectionLost(f"the broker did not answer SUBSCRIBE in {_SUBACK_SECONDS:g} s")
        with self._condition:
            old = [
                batch
                for batch in self._handed_out.values()
                if now - batch.taken_at > self._unacked_seconds
            ]
            for batch in old:
                self._take_back(batch)
            # What an earlier connection delivered has come again since; this one needn't end.
            overdue = sum(batch.generation == self._generation for batch in old)
        if overdue:
            self.counters.add("overdue", overdue)
            raise ConnectionLost(
                f"{overdue} batches were not acknowledged for {self._unacked_seconds:g} s;"
                " reconnecting, so that the broker sends them again"
            )

    @property
    def holds(self) -> bool:
        """Whether anything is queued, handed out, or being acknowledged."""
        with self._condition:
            return bool(self._queue or self._handed_out or self._acknowledging)

    @property
    def full(self) -> bool:
        """Whether enough is here: in bytes, or in messages where QoS 0 knows no other limit."""
        held = self._queued_bytes + self._handed_out_bytes
        return held > _MOST_HELD_BYTES or self._queued > self._limit

    @property
    def pause_seconds(self) -> float:
        """None: whoever waits for a message waits for the first."""
        return 0.0

    def _stands_on(self, wire: Wire, generation: int) -> None:
        with self._condition:
            self._wire, self._generation = wire, generation

    def _take_back(self, batch: Batch) -> bool:
        """Whether the batch was still handed out, which it no longer is. Under the lock."""
        if self._handed_out.pop(id(batch), None) is None:
            return False
        self._handed_out_bytes -= batch.payload_bytes
        return True

    def _check_granted(self, packet: SubAckPacket) -> None:
        self._subscribe_by = None
        if len(packet.reason_codes) != len(self._filters):
            # [MQTT-3.8.4-6]
            raise ProtocolError(
                f"SUBACK with {len(packet.reason_codes)} reason codes for"
                f" {len(self._filters)} topic filters"
            )
        for item, code in zip(self._filters, packet.reason_codes, strict=True):
            if int(code) >= 0x80:
                words = code.name.lower().replace("_", " ")
                raise SubscriptionRefused(
                    f"the broker refused topic filter {str(item)!r} for client"
                    f" {self._link.settings.client_id!r}: {words} ({int(code):#04x});"
                    " give this user the right to subscribe to it",
                    topic_filter=str(item),
                    reason_code=int(code),
                )
        self._link.set_ready()


def _payload_bytes(packets: Sequence[PublishPacket]) -> int:
    return sum(len(packet.payload) for packet in packets)
