"""A streaming pull that keeps leases: the inbox behind ``ReadFromPubSub``.

Messages are queued, handed out in batches, and acknowledged when their bundle is durable. While
one is here its lease is extended. Acknowledgements go by the unary call, which any connection
may make, so a broken stream costs none of them; one that could not be sent costs a second
delivery.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import grpc
from google.pubsub_v1 import types

from mqtt.client.counts import Counts
from transforms.pubsubio.channel import StreamingPullRequest, method, streaming_pull
from transforms.pubsubio.errors import PubSubError, PubSubUnavailable, told

_LOGGER = logging.getLogger(__name__)

_IDS_PER_CALL = 1_000
"""Acknowledgement ids in a request: the service takes 512 KiB of them, and the longest, of
subscriptions with exactly-once delivery, have some 400 bytes."""

_FIRST_LEASE_SECONDS = 10
"""The service's shortest."""
_EXTEND_SECONDS = 3.0
"""So often that two tries in a row may fail."""

_CALL_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_STANDS_AFTER_SECONDS = 3.0
_LOG_EVERY_SECONDS = 60.0
"""One failure after another, with one reason: nothing is read, and the pipeline looks well."""

_ORDERING_KEY = attrgetter("message.ordering_key")

AcknowledgeRequest = types.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest = types.ModifyAckDeadlineRequest.pb()


@dataclass(slots=True, eq=False)
class PulledBatch:
    """Received messages (raw ReceivedMessage protobufs), at least one, that wait or were handed
    out together. ``received_at``: when the first of them was, monotonic.
    """

    messages: list[Any]
    received_at: float


class Puller:
    """One streaming pull of a subscription, with its leases.

    Args:
      channel: to the service; belongs to the puller.
      subscription: ``projects/P/subscriptions/S``.
      most_messages, most_bytes: what may be here unacknowledged.
      lease_seconds: 10 to 600; what a process holds that dies comes again after so long. The first
        lease of a message is the shortest there is, so that what was on the wire when a
        connection broke comes again soon; it is extended while the message is here.
      longest_seconds: a message that was handed out so long ago is given up: its lease ends, and
        the service delivers it again.
      start_timeout_seconds: how long :meth:`check_started` is patient.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        subscription: str,
        *,
        most_messages: int,
        most_bytes: int,
        lease_seconds: int,
        longest_seconds: float,
        start_timeout_seconds: float,
    ) -> None:
        self.counters = Counts()
        self._ack_latencies_ms: deque[int] = deque(maxlen=1_000)
        self._channel = channel
        self._subscription = subscription
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._lease_seconds = lease_seconds
        self._longest_seconds = longest_seconds
        self._start_by = time.monotonic() + start_timeout_seconds
        self._stream = streaming_pull(channel)
        self._acknowledge = method(channel, "acknowledge")
        self._modify = method(channel, "modify_ack_deadline")
        lock = threading.RLock()
        self._condition = threading.Condition(lock)
        self._backlog = threading.Condition(lock)
        self._queue: deque[PulledBatch] = deque()
        self._queued = 0
        self._has_keys = False
        self._handed_out: dict[int, PulledBatch] = {}
        self._to_ack: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._ready = self._connected = False
        self._stream_since = math.inf
        self._error: PubSubError | None = None
        self._call: Any = None
        self._ended_call: Any = None
        channel.subscribe(self._channel_is)
        self._threads = [
            threading.Thread(target=target, name=f"pubsub-{what}", daemon=True)
            for target, what in (
                (self._pull, "pull"),
                (self._send_acks, "acknowledge"),
                (self._keep_leases, "leases"),
            )
        ]
        for thread in self._threads:
            thread.start()

    # What readers use; see transforms.inbox.Inbox.

    @property
    def stands(self) -> bool:
        """Always: a subscription keeps messages whether or not somebody pulls."""
        return True

    @property
    def oldest_time(self) -> float | None:
        """The publish time of the message at the queue's head; None if there is none."""
        with self._condition:
            if not self._queue:
                return None
            published = self._queue[0].messages[0].message.publish_time
            return float(published.seconds + published.nanos / 1e9)

    def take(self, maximum: int, timeout_seconds: float) -> PulledBatch | None:
        """Returns up to ``maximum`` messages, or None if none came in time."""
        waiting = self._queue
        with self._condition:
            if not waiting and timeout_seconds:
                self._condition.wait(timeout_seconds)
            if not waiting:
                return None
            batch = waiting.popleft()
            messages = batch.messages
            while waiting and len(messages) + len(waiting[0].messages) <= maximum:
                messages += waiting.popleft().messages
            if len(messages) > maximum:
                waiting.appendleft(PulledBatch(messages[maximum:], batch.received_at))
                del messages[maximum:]
            self._queued -= len(messages)
            self._handed_out[id(batch)] = batch
            return batch

    def take_spare(self, maximum: int, timeout_seconds: float) -> PulledBatch | None:
        """Returns what :meth:`take` would, as long as more waits than one reader takes at once; but
        nothing once there was an ordering key: its messages must not be in two bundles at a time.
        """
        if self._has_keys:
            self._closing.wait(timeout_seconds)
            return None
        with self._condition:
            if not self._backlog.wait_for(lambda: self._queued > 2 * maximum, timeout_seconds):
                return None
            batch = self.take(maximum, 0.0)
            if batch is not None and any(map(_ORDERING_KEY, batch.messages)):
                self._has_keys = True
                self.give_back([batch])
                return None
            return batch

    def acknowledge(self, batches: Sequence[PulledBatch]) -> None:
        """Queues the acknowledgements; a thread sends them."""
        now = time.monotonic()
        self._to_ack.put([message.ack_id for batch in batches for message in batch.messages])
        with self._condition:
            for batch in batches:
                self._handed_out.pop(id(batch), None)
                self._ack_latencies_ms.append(int(1_000 * (now - batch.received_at)))
            if not self._handed_out:
                self._condition.notify_all()

    def give_back(self, batches: Sequence[PulledBatch]) -> None:
        """Queues the batches' messages again, at the head."""
        with self._condition:
            for batch in reversed(batches):
                if self._handed_out.pop(id(batch), None) is not None:
                    # As a batch of its own: who still holds the old one may acknowledge it, and
                    # must not acknowledge what is put to this one when it is taken.
                    self._queue.appendleft(PulledBatch(batch.messages[:], batch.received_at))
                    self._queued += len(batch.messages)
            self._condition.notify()

    def check_started(self) -> None:
        """Raises PubSubError if no stream ever stood, and none can or none did in time."""
        now = time.monotonic()
        # A stream says nothing until there is a message; one that lasts was taken.
        stands = self._connected and now - self._stream_since > _STANDS_AFTER_SECONDS
        if self._ready or stands:
            self._ready = True
            return
        error = self._error
        if now > self._start_by:
            raise error or PubSubUnavailable(f"{self._subscription}: no answer from the service")
        if error is not None and not isinstance(error, PubSubUnavailable):
            raise error

    def drain_counters(self) -> tuple[Counter[str], list[int]]:
        """Returns what was counted since the last call, and ack latencies in milliseconds."""
        with self._condition:
            latencies = list(self._ack_latencies_ms)
            self._ack_latencies_ms.clear()
        return self.counters.drain(), latencies

    def close(self, *, settle_seconds: float = 0.0, timeout_seconds: float = 5.0) -> None:
        """Sends the acknowledgements that are queued, lets go of what is not handed out, ends.

        ``settle_seconds``: how long batches that are handed out are waited for;
        ``timeout_seconds``: how long the rest may take.
        """
        with self._condition:
            self._condition.wait_for(lambda: not self._handed_out, settle_seconds)
        self._closing.set()
        if self._call is not None:
            self._call.cancel()
        self._to_ack.put(None)
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._condition:
            ids = [message.ack_id for batch in self._queue for message in batch.messages]
            self._queue.clear()
            self._queued = 0
        self._extend(ids, 0)
        self._channel.close()

    # Threads.

    def _channel_is(self, state: grpc.ChannelConnectivity) -> None:
        self._connected = state is grpc.ChannelConnectivity.READY

    def _pull(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        logged = -math.inf
        while not self._closing.is_set():
            ended = threading.Event()
            try:
                self._stream_since = time.monotonic()
                call = self._call = self._stream(self._requests(ended))
                if self._closing.is_set():
                    call.cancel()
                for response in call:
                    if call is not self._call:
                        return
                    self._ready, self._error, pause = True, None, _FIRST_PAUSE_SECONDS
                    self._receive(response)
            except grpc.RpcError as error:
                if self._closing.is_set() or call is not self._call:
                    return
                self._stream_since = math.inf
                failure = told(error, self._subscription)
                now = time.monotonic()
                if str(failure) != str(self._error) or now - logged >= _LOG_EVERY_SECONDS:
                    logged = now
                    _LOGGER.warning("streaming pull ended: %s; trying again", failure)
                self._error = failure
                self.counters.add("reconnects")
            finally:
                ended.set()
            if call is not self._call:
                return
            self._closing.wait(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, 1.7 * pause)

    def _requests(self, ended: threading.Event) -> Iterator[Any]:
        yield StreamingPullRequest(
            subscription=self._subscription,
            stream_ack_deadline_seconds=_FIRST_LEASE_SECONDS,
            max_outstanding_messages=self._most_messages,
            max_outstanding_bytes=self._most_bytes,
        )
        # The stream stays open as long as its requests do; leases need nothing sent here.
        ended.wait()

    def _receive(self, response: Any) -> None:
        messages = list(response.received_messages)
        if not messages:
            return
        self.counters.add("received", len(messages))
        # Told only where the subscription has a dead-letter policy, and then for each.
        if messages[0].delivery_attempt:
            redelivered = sum(item.delivery_attempt > 1 for item in messages)
            self.counters.add("redelivered", redelivered)
        with self._condition:
            self._queue.append(PulledBatch(messages, time.monotonic()))
            self._queued += len(messages)
            self._condition.notify()
            self._backlog.notify()

    def _send_acks(self) -> None:
        while True:
            ids = self._to_ack.get()
            ended = ids is None
            gathered = ids or []
            while not self._to_ack.empty() and len(gathered) < _IDS_PER_CALL:
                more = self._to_ack.get()
                ended = ended or more is None
                gathered = gathered + (more or [])
            for start in range(0, len(gathered), _IDS_PER_CALL):
                self._send_ack(gathered[start : start + _IDS_PER_CALL])
            if ended:
                return

    def _send_ack(self, ids: list[str]) -> None:
        request = AcknowledgeRequest(subscription=self._subscription, ack_ids=ids)
        pause = _FIRST_PAUSE_SECONDS
        # When the lease is over the messages have been delivered again.
        lease_ends = time.monotonic() + self._lease_seconds
        while True:
            try:
                self._acknowledge(request, timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                failure = told(error, self._subscription)
                late = self._closing.is_set() or time.monotonic() > lease_ends
                if late or not isinstance(failure, PubSubUnavailable):
                    break
                self._closing.wait(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
            else:
                self.counters.add("acked", len(ids))
                return
        self.counters.add("acks_lost", len(ids))
        _LOGGER.warning("%d acknowledgements not taken: %s; they come again", len(ids), failure)

    def _leave_a_dead_stream(self) -> None:
        """Goes on with a new thread if the old one waits for a stream that has long ended.

        gRPC's reader can miss the end of a stream that the server refused while it was shutting
        down (seen with grpcio 1.85.1, once in some hundred such moments), and would wait for ever.
        """
        call, before = self._call, self._ended_call
        if call is None or call.is_active():
            self._ended_call = None
            return
        self._ended_call = call
        if call is not before:
            return
        # Between two looks any pause before another attempt is over.
        _LOGGER.warning("%s: the end of a stream was missed; trying again", self._subscription)
        self.counters.add("reconnects")
        self._call = self._ended_call = None
        self._threads[0] = threading.Thread(target=self._pull, name="pubsub-pull", daemon=True)
        self._threads[0].start()

    def _keep_leases(self) -> None:
        while not self._closing.wait(_EXTEND_SECONDS):
            self._leave_a_dead_stream()
            now = time.monotonic()
            with self._condition:
                for key, batch in list(self._handed_out.items()):
                    if now - batch.received_at > self._longest_seconds:
                        del self._handed_out[key]
                        self.counters.add("overdue", len(batch.messages))
                here = (*self._queue, *self._handed_out.values())
                ids = [message.ack_id for batch in here for message in batch.messages]
            self._extend(ids, self._lease_seconds)

    def _extend(self, ids: list[str], seconds: int) -> None:
        for start in range(0, len(ids), _IDS_PER_CALL):
            request = ModifyAckDeadlineRequest(
                subscription=self._subscription,
                ack_ids=ids[start : start + _IDS_PER_CALL],
                ack_deadline_seconds=seconds,
            )
            try:
                self._modify(request, timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                self.counters.add("leases_lost", len(request.ack_ids))
                _LOGGER.warning("leases not extended: %s", told(error, self._subscription))
