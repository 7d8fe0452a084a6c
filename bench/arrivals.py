"""What arrived, message by message: the only witness of rates, losses and latencies."""

from __future__ import annotations

import queue
import select
import threading
import time
from array import array
from itertools import pairwise
from typing import Any

import grpc

from bench.load import PAYLOAD_BYTES, event_time_of, number_of
from bench.processes import BenchError
from bench.pubsub import PubSub, StreamingPull
from bench.session import Session
from mqtt.codec import ProtocolVersion

_PUBLISH_QOS_1 = 0x32
WATCH_SECONDS = 0.002
"""How exactly an arrival over MQTT is known: runs take seconds."""


class Arrivals:
    """When each of the messages numbered ``numbers`` first arrived; all others are ignored."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers
        self._times = array("d", bytes(8 * len(numbers)))
        self.distinct = 0
        self.duplicates = 0

    def note(self, number: int, moment: float) -> bool:
        """Notes an arrival; whether it is the first of its number."""
        place = number - self.numbers.start
        if not 0 <= place < len(self._times):
            return False
        if self._times[place]:
            self.duplicates += 1
            return False
        self._times[place] = moment
        self.distinct += 1
        return True

    @property
    def lost(self) -> int:
        """How many have not arrived."""
        return len(self._times) - self.distinct

    @property
    def complete(self) -> bool:
        """Whether all have."""
        return not self.lost

    def span(self) -> tuple[float, float]:
        """The times of the first and the last arrival.

        Raises:
          BenchError: nothing arrived.
        """
        if not self.distinct:
            raise BenchError("nothing arrived")
        return min(moment for moment in self._times if moment), max(self._times)

    def longest_pause(self) -> float:
        """The longest time in seconds in which nothing arrived."""
        moments = sorted(moment for moment in self._times if moment)
        return max((later - sooner for sooner, later in pairwise(moments)), default=0.0)

    def rate(self) -> float:
        """Messages a second from the first arrival to the last.

        What came together with the first is left out: it began before the span did.
        """
        first, last = self.span()
        later = self.distinct - self._times.count(first)
        return later / (last - first) if last > first else float("nan")


def drain(pubsub: PubSub, subscription: str, arrivals: Arrivals, *, quiet_seconds: float) -> None:
    """Pulls until all have arrived or nothing came for ``quiet_seconds``.

    The arrival time is the one at which Pub/Sub accepted the message, so draining afterwards
    measures the same as watching, without a consumer that takes its share of the cores.
    """
    heard = time.monotonic()
    while not arrivals.complete and time.monotonic() - heard < quiet_seconds:
        for data, accepted in pubsub.pull(subscription):
            heard = time.monotonic()
            arrivals.note(number_of(data), accepted)


class PubSubWatcher:
    """Streaming pull in a thread: acknowledges all, notes arrivals by this machine's clock.

    ``latencies_seconds``: arrival less the event time in the payload, one for each distinct
    message, in order of arrival.
    """

    def __init__(self, pubsub: PubSub, subscription: str, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self.latencies_seconds = array("d")
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(
            StreamingPull(
                subscription=subscription,
                stream_ack_deadline_seconds=60,
                max_outstanding_messages=10_000,
            )
        )
        self._call = pubsub.streaming_pull(iter(self._requests.get, None))
        self._error: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._run, name="pubsub-watcher", daemon=True)

    def __enter__(self) -> PubSubWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._call.cancel()
        self._requests.put(None)
        self._thread.join()

    def check(self) -> None:
        """Raises BenchError when the stream has failed."""
        if self._error is not None:
            raise BenchError(f"streaming pull: {self._error}")

    def _run(self) -> None:
        try:
            for response in self._call:
                now = time.time()
                received = response.received_messages
                for each in received:
                    data = each.message.data
                    if self._arrivals.note(number_of(data), now):
                        self.latencies_seconds.append(now - event_time_of(data))
                self._requests.put(StreamingPull(ack_ids=[each.ack_id for each in received]))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                self._error = error


class MqttWatcher:
    """An MQTT 5 subscriber in a thread: QoS 1, acknowledges all, notes arrivals.

    QoS 1 and not 0, so that the broker may not drop what this subscriber is late for. It takes as
    little of the cores as it can, since the measured peers need them: it reads what has come in
    some milliseconds at once, and takes no more from a packet than its number and its identifier.
    A second one resumes the session of the first, and takes over what came in between.
    ``arrivals``: where they are noted; it may be changed while this runs. ``latencies_seconds``:
    None, or what gathers them as PubSubWatcher does. ``watch_seconds``: how long it lets messages
    come together before it reads again.
    """

    def __init__(
        self,
        port: int,
        topic_filter: str,
        *,
        password: str,
        protocol: ProtocolVersion = ProtocolVersion.V5,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self.arrivals = Arrivals(range(0))
        self.latencies_seconds: array[float] | None = None
        session = Session(port, "watcher", password=password, protocol=protocol, lasting=True)
        if not session.resumed:
            session.subscribe(topic_filter)
        self._socket, self._rest = session.socket, session.rest
        self._watch_seconds = watch_seconds
        self._hung_up = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-watcher", daemon=True)

    def check(self) -> None:
        """Raises BenchError when the broker has closed the connection."""
        if self._hung_up:
            raise BenchError("the broker hung up on the watcher")

    def __enter__(self) -> MqttWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        # A session that is resumed begins right behind the CONNACK.
        self._rest = self._take(self._rest, time.time())
        while not self._closing.is_set():
            if not select.select([self._socket], [], [], 0.2)[0]:
                continue
            data = self._socket.recv(1_048_576)
            if not data:
                self._hung_up = True
                return
            self._rest = self._take(self._rest + data, time.time())
            if self._watch_seconds:
                time.sleep(self._watch_seconds)

    def _take(self, data: bytes, now: float) -> bytes:
        """Notes and acknowledges what is whole; returns what isn't."""
        note, latencies = self.arrivals.note, self.latencies_seconds
        at, size, acknowledgements = 0, len(data), bytearray()
        while at + 2 <= size:
            length, body = data[at + 1], at + 2
            if length & 0x80:
                if at + 3 > size:
                    break
                # No packet here has 16 KiB, so two bytes hold the length.
                length, body = length & 0x7F | data[at + 2] << 7, at + 3
            end = body + length
            if end > size:
                break
            if data[at] & 0xF6 == _PUBLISH_QOS_1:
                content = data[end - PAYLOAD_BYTES : end]
                if note(number_of(content), now) and latencies is not None:
                    latencies.append(now - event_time_of(content))
                identifier = body + 2 + (data[body] << 8 | data[body + 1])
                acknowledgements += b"\x40\x02" + data[identifier : identifier + 2]
            at = end
        if acknowledgements:
            self._socket.sendall(acknowledgements)
        return data[at:]
