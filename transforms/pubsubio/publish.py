"""Publishing in requests of up to 1,000 messages, several in flight, retried until accepted."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import grpc
from apache_beam.io.gcp.pubsub import PubsubMessage

from transforms.pubsubio.channel import PublishRequest, method
from transforms.pubsubio.errors import PubSubInvalid, PubSubUnavailable, told
from transforms.pubsubio.limits import (
    MAXIMUM_REQUEST_BYTES,
    MAXIMUM_REQUEST_MESSAGES,
    refusal,
    request_bytes,
)

_CALL_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_IN_FLIGHT = 4
"""Requests on their way while the next is built."""


class _Request:
    """Messages for one publish call, and the call."""

    __slots__ = ("bytes", "call", "messages", "pb", "started")

    def __init__(self, topic: str) -> None:
        self.pb = PublishRequest(topic=topic)
        self.messages: list[Any] = []
        self.bytes = 0
        self.call: Any = None
        self.started = 0.0


class BatchPublisher:
    """Publishes to one topic; one bundle at a time uses it.

    Args:
      channel: to the service.
      topic: ``projects/P/topics/T``.
      ordered: whether requests hold one ordering key each, one in flight for a key.
      retry_seconds: how long an unavailable service is waited for.
      refused: called with a message and the reason where Pub/Sub won't take it.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        topic: str,
        *,
        ordered: bool,
        retry_seconds: float,
        refused: Any,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.latencies_ms: list[int] = []
        self._publish = method(channel, "publish")
        self._topic = topic
        self._ordered = ordered
        self._retry_seconds = retry_seconds
        self._refused = refused
        self._open: dict[str, _Request] = {}
        self._flying: deque[_Request] = deque()

    def add(self, message: PubsubMessage) -> None:
        """Takes a message; sends a request when one is full.

        Raises:
          PubSubError: the service refuses the topic, or was away for ``retry_seconds``.
        """
        data, attributes = message.data or b"", message.attributes or {}
        key = message.ordering_key or ""
        reason = refusal(data, attributes, key)
        if reason is not None:
            self._refused(message, reason)
            return
        group = key if self._ordered else ""
        size = request_bytes(data, attributes, key)
        request = self._open.get(group)
        if request is not None and request.bytes + size > MAXIMUM_REQUEST_BYTES:
            self._send(group)
            request = None
        if request is None:
            request = self._open[group] = _Request(self._topic)
        request.pb.messages.add(
            data=data, attributes=attributes, ordering_key=key if self._ordered else ""
        )
        request.messages.append(message)
        request.bytes += size
        if len(request.messages) >= MAXIMUM_REQUEST_MESSAGES:
            self._send(group)

    def flush(self) -> None:
        """Returns when every message taken was accepted or refused. Raises as :meth:`add`."""
        for group in list(self._open):
            self._send(group)
        while self._flying:
            self._settle(self._flying.popleft())

    def forget(self) -> None:
        """Drops what is under way: its bundle failed and comes again."""
        for request in self._flying:
            request.call.cancel()
        self._flying.clear()
        self._open.clear()

    def _send(self, group: str) -> None:
        request = self._open.pop(group)
        if self._ordered:
            # One request in flight for a key: settle what may be ahead of this one.
            key = request.pb.messages[0].ordering_key
            while any(other.pb.messages[0].ordering_key == key for other in self._flying):
                self._settle(self._flying.popleft())
        while len(self._flying) >= _IN_FLIGHT:
            self._settle(self._flying.popleft())
        request.started = time.monotonic()
        request.call = self._publish.future(request.pb, timeout=_CALL_SECONDS)
        self._flying.append(request)

    def _settle(self, request: _Request) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                request.call.result()
            except grpc.RpcError as error:
                failure = told(error, self._topic)
            else:
                self.counters["published"] += len(request.messages)
                self.latencies_ms.append(int(1_000 * (time.monotonic() - request.started)))
                return
            if isinstance(failure, PubSubInvalid):
                self._divide(request, failure)
                return
            waited = time.monotonic() - request.started
            if not isinstance(failure, PubSubUnavailable) or waited > self._retry_seconds:
                raise failure
            self.counters["retries"] += 1
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
            pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
            request.call = self._publish.future(request.pb, timeout=_CALL_SECONDS)

    def _divide(self, request: _Request, failure: PubSubInvalid) -> None:
        """Finds the message that the service won't take, so that its neighbours arrive."""
        count = len(request.messages)
        if count == 1:
            self._refused(request.messages[0], str(failure))
            return
        for part in (slice(0, count // 2), slice(count // 2, count)):
            half = _Request(self._topic)
            half.messages = request.messages[part]
            half.pb.messages.extend(request.pb.messages[part])
            half.started = request.started
            half.call = self._publish.future(half.pb, timeout=_CALL_SECONDS)
            self._settle(half)


def messages_of(element: PubsubMessage | Sequence[PubsubMessage]) -> Sequence[PubsubMessage]:
    """Returns the element's messages: itself, or those in a list."""
    return element if isinstance(element, list) else (element,)
