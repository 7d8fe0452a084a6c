"""Publishing in requests of up to 1,000 messages, several in flight, retried until accepted."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from apache_beam.io.gcp.pubsub import PubsubMessage

from transforms.pubsubio.channel import publish_bytes
from transforms.pubsubio.errors import PubSubInvalid, PubSubUnavailable, told
from transforms.pubsubio.limits import (
    MAXIMUM_REQUEST_BYTES,
    MAXIMUM_REQUEST_MESSAGES,
    refusal,
)
from transforms.pubsubio.wire import framed_message, request_header, unframed

_LOGGER = logging.getLogger(__name__)

_CALL_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_LOG_EVERY_SECONDS = 10.0
_IN_FLIGHT = 4
"""Requests on their way while the next is built."""


class _Request:
    """Messages for one publish call, framed, and the call."""

    __slots__ = ("bytes", "call", "key", "parts", "started")

    def __init__(self, key: str) -> None:
        self.key = key
        self.parts: list[bytes] = []
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
        refused: Callable[[PubsubMessage, str], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.latencies_ms: list[int] = []
        self._publish = publish_bytes(channel)
        self._topic = topic
        self._header = request_header(topic)
        self._ordered = ordered
        self._retry_seconds = retry_seconds
        self._refused = refused
        self._open: dict[str, _Request] = {}
        self._flying: deque[_Request] = deque()
        self._logged = -_LOG_EVERY_SECONDS

    def add(self, message: PubsubMessage) -> None:
        """Takes a message, or refuses it; sends a request when one is full.

        Raises:
          PubSubError: the service refuses the topic, or was away for ``retry_seconds``.
        """
        key = message.ordering_key or "" if self._ordered else ""
        reason = refusal(message.data or b"", message.attributes or {}, key)
        if reason is not None:
            self._refused(message, reason)
            return
        self._add(framed_message(message, with_key=self._ordered), key)

    def add_framed(self, parts: Sequence[bytes]) -> None:
        """Takes messages that were checked and framed before (see ``wire``), without keys.

        Raises as :meth:`add`.
        """
        size = sum(map(len, parts))
        request = self._open.get("")
        count, bytes_ = (len(request.parts), request.bytes) if request else (0, 0)
        if count + len(parts) > MAXIMUM_REQUEST_MESSAGES or bytes_ + size > MAXIMUM_REQUEST_BYTES:
            for part in parts:
                self._add(part, "")
            return
        if request is None:
            request = self._open[""] = _Request("")
        request.parts += parts
        request.bytes += size
        if len(request.parts) == MAXIMUM_REQUEST_MESSAGES:
            self._send(request)

    def _add(self, part: bytes, key: str) -> None:
        size = len(part)
        request = self._open.get(key)
        if request is not None and request.bytes + size > MAXIMUM_REQUEST_BYTES:
            self._send(request)
            request = None
        if request is None:
            request = self._open[key] = _Request(key)
        request.parts.append(part)
        request.bytes += size
        if len(request.parts) >= MAXIMUM_REQUEST_MESSAGES:
            self._send(request)

    def flush(self) -> None:
        """Returns when every message taken was accepted or refused. Raises as :meth:`add`."""
        for request in list(self._open.values()):
            self._send(request)
        while self._flying:
            self._settle(self._flying.popleft())

    def forget(self) -> None:
        """Drops what is under way: its bundle failed and comes again."""
        for request in self._flying:
            request.call.cancel()
        self._flying.clear()
        self._open.clear()

    def _send(self, request: _Request) -> None:
        del self._open[request.key]
        if self._ordered:
            # One request in flight for a key: settle what is ahead of this one.
            while any(other.key == request.key for other in self._flying):
                self._settle(self._flying.popleft())
        while len(self._flying) >= _IN_FLIGHT:
            self._settle(self._flying.popleft())
        request.started = time.monotonic()
        self._call(request)
        self._flying.append(request)

    def _call(self, request: _Request) -> None:
        body = b"".join((self._header, *request.parts))
        request.call = self._publish.future(body, timeout=_CALL_SECONDS)

    def _settle(self, request: _Request) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                request.call.result()
            except grpc.RpcError as error:
                failure = told(error, self._topic)
            else:
                self.counters["published"] += len(request.parts)
                self.latencies_ms.append(int(1_000 * (time.monotonic() - request.started)))
                return
            if isinstance(failure, PubSubInvalid):
                self._divide(request, failure)
                return
            now = time.monotonic()
            waited = now - request.started
            if not isinstance(failure, PubSubUnavailable) or waited > self._retry_seconds:
                raise failure
            self.counters["retries"] += 1
            if now - self._logged >= _LOG_EVERY_SECONDS:
                self._logged = now
                _LOGGER.warning("not published: %s; trying again for %.0f s", failure, waited)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
            pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
            self._call(request)

    def _divide(self, request: _Request, failure: PubSubInvalid) -> None:
        """Finds the message that the service won't take, so that its neighbours arrive."""
        count = len(request.parts)
        if count == 1:
            self._refused(unframed(request.parts[0]), str(failure))
            return
        for part in (slice(0, count // 2), slice(count // 2, count)):
            half = _Request(request.key)
            half.parts = request.parts[part]
            half.started = request.started
            self._call(half)
            self._settle(half)
