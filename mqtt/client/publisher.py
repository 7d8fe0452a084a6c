"""Publishing at QoS 1: a bounded window of unacknowledged messages, an outcome for each.

MQTT 5.0 sections 3.3, 3.4 and 4.9 (flow control).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from mqtt5 import ConnAckPacket, Packet, PubAckPacket, QoS

from mqtt.client.caution import Caution
from mqtt.client.counts import Counts
from mqtt.client.link import Link
from mqtt.client.publication import Publication
from mqtt.client.settings import ConnectionSettings
from mqtt.client.wire import Wire
from mqtt.errors import ConnectionLost, ConnectionRefused, TopicError
from mqtt.outgoing import Message, encoded, is_retained, topic_field

_LOGGER = logging.getLogger(__name__)

_CHUNK = 500
"""Messages written to the socket in one go."""

_MANY_IN_FLIGHT = 500
_PAUSE_SECONDS = 0.002

_MALFORMED_PACKET = 0x81
_IMPLEMENTATION_SPECIFIC = 0x83
_TOPIC_NAME_INVALID = 0x90
_PACKET_TOO_LARGE = 0x95
_RETAIN_NOT_SUPPORTED = 0x9A
_QOS_NOT_SUPPORTED = 0x9B

_NONE_REFUSED: Mapping[int, int] = MappingProxyType({})


class Publisher:
    """One connection that publishes; it may be shared by threads.

    Nothing is kept at the broker (clean start): what was not acknowledged when a connection broke
    is published again on the next one, so the broker may see a message twice.

    Args:
      settings: the connection.
      maximum_in_flight: unacknowledged messages; the broker's receive maximum may lower it.
    """

    def __init__(self, settings: ConnectionSettings, *, maximum_in_flight: int = 1_000) -> None:
        if not 1 <= maximum_in_flight <= 65_535:
            raise ValueError(f"maximum_in_flight: must be 1 to 65,535, got {maximum_in_flight}")
        self.counters = Counts()
        self._protocol = settings.protocol
        self._maximum = self._window = maximum_in_flight
        self._largest: int | None = None
        self._retains = True
        self._condition = threading.Condition()
        # Held while writing, so that a reconnect can't overtake a write. Never waited for while
        # holding the condition: the link's thread needs that one to take PUBACKs.
        self._sending = threading.Lock()
        # By packet identifier: a publication and the place of the message in it.
        self._in_flight: dict[int, tuple[Publication, int]] = {}
        # In flight, and not yet sent on this connection.
        self._unsent: deque[int] = deque()
        self._last_id = 0
        self._wanted_room = 0
        self._wire: Wire | None = None
        # In its place, while the connection is one to be careful with.
        self._careful: Wire | None = None
        self._caution = Caution()
        self._link = Link(
            settings.replace(clean_start=True, session_expiry_seconds=0), self, self.counters
        )
        self._link.start()

    @property
    def link(self) -> Link:
        """The connection's keeper, for its counters and its last error."""
        return self._link

    def wait_ready(self, timeout_seconds: float) -> None:
        """Waits for the first connection. Raises ConnectError."""
        self._link.wait_ready(timeout_seconds)

    def open(self, *, timeout_seconds: float) -> Publication:
        """Returns a publication whose messages must all be answered within the time."""
        return Publication(self, timeout_seconds)

    def publish(self, messages: Iterable[Message], *, timeout_seconds: float) -> list[int]:
        """Publishes and waits: ``add`` and ``wait`` of one :class:`Publication`."""
        publication = self.open(timeout_seconds=timeout_seconds)
        publication.add(messages)
        return publication.wait()

    def close(self) -> None:
        """Disconnects."""
        self._link.close()

    def _add(self, call: Publication, messages: Iterable[Message], deadline: float) -> None:
        heads, tails = [], []
        refused = {}
        for index, message in enumerate(messages, len(call.heads)):
            head = tail = b""
            try:
                head, tail = encoded(message, self._protocol)
            except TopicError:
                refused[index] = _TOPIC_NAME_INVALID
            except (ValueError, OverflowError):
                refused[index] = _MALFORMED_PACKET
            heads.append(head)
            tails.append(tail)
        self._add_encoded(call, heads, tails, deadline, refused)

    def _add_encoded(
        self,
        call: Publication,
        heads: Sequence[bytes],
        tails: Sequence[bytes],
        deadline: float,
        refused: Mapping[int, int] = _NONE_REFUSED,
    ) -> None:
        """``refused``: reason codes of messages, by index, that can't be sent to any broker."""
        first = len(call.heads)
        last = first + len(heads)
        with self._condition:
            call.heads += heads
            call.tails += tails
            call.codes += bytes(len(heads))
            call.missing += len(heads)
            for index, code in refused.items():
                call.settle(index, code)
        unsent: Sequence[int] = range(first, last)
        if refused:
            unsent = [index for index in unsent if index not in refused]
        for start in range(0, len(unsent), _CHUNK):
            self._send(call, unsent[start : start + _CHUNK], deadline)

    def _send(self, call: Publication, indexes: Sequence[int], deadline: float) -> None:
        sent = 0
        while sent < len(indexes):
            with self._condition:
                self._wait_for_room(call, len(indexes) - sent, deadline)
            with self._sending:
                with self._condition:
                    wire = self._wire
                    room = self._window - len(self._in_flight) if wire is not None else 0
                    taken = indexes[sent : sent + max(0, room)]
                    data = self._put_in_flight(call, taken)
                sent += len(taken)
                if wire is not None and data:
                    # If it fails the link notices too, and connected() sends what is in flight.
                    with contextlib.suppress(ConnectionLost):
                        wire.send_bytes(b"".join(data))
                        self.counters.add("published", len(data) // 3)

    def _wait_for_room(self, call: Publication, count: int, deadline: float) -> None:
        """Waits until it is worth going on: a wake-up for each PUBACK costs more than a message."""
        while True:
            wanted = min(count, max(1, self._window // 4))
            if self._wire is not None and self._window - len(self._in_flight) >= wanted:
                return
            # The lowest of those that wait; whoever finds too little sets it again.
            self._wanted_room = min(self._wanted_room or wanted, wanted)
            self._wait(call, deadline)

    def _put_in_flight(self, call: Publication, indexes: Sequence[int]) -> list[bytes]:
        """Gives the messages packet identifiers; returns their pieces, three each."""
        in_flight = self._in_flight
        heads, tails = call.heads, call.tails
        data: list[bytes] = []
        packet_id = self._last_id
        for index in indexes:
            head, tail = heads[index], tails[index]
            code = self._unwanted(head, tail)
            if code is not None:
                call.settle(index, code)
                continue
            packet_id = packet_id % 65_535 + 1
            while packet_id in in_flight:
                packet_id = packet_id % 65_535 + 1
            in_flight[packet_id] = (call, index)
            data += (head, packet_id.to_bytes(2, "big"), tail)
        self._last_id = packet_id
        return data

    def _unwanted(self, head: bytes, tail: bytes) -> int | None:
        """Returns the reason code of a packet that this broker has said it does not take."""
        if self._largest is not None and len(head) + 2 + len(tail) > self._largest:
            # [MQTT-3.2.2-15]
            return _PACKET_TOO_LARGE
        if not self._retains and is_retained(head):
            # [MQTT-3.2.2-14]
            return _RETAIN_NOT_SUPPORTED
        return None

    def _wait_for_all(self, call: Publication, deadline: float) -> None:
        with self._condition:
            while call.missing:
                self._wait(call, deadline)

    def _republish(self, wire: Wire, count: int) -> list[int]:
        """Sends up to ``count`` that an earlier connection left without an answer; returns their
        packet identifiers.

        [MQTT-3.3.4-9]: never more unanswered than the broker's receive maximum, which may be
        smaller on this connection than it was on the last.
        """
        sent: list[int] = []
        while len(sent) < count and self._unsent:
            packet_id = self._unsent.popleft()
            with self._condition:
                if packet_id not in self._in_flight:
                    continue
                call, index = self._in_flight[packet_id]
                head, tail = call.heads[index], call.tails[index]
                code = self._unwanted(head, tail)
                if code is not None:
                    # Another broker than the one that it was first meant for.
                    del self._in_flight[packet_id]
                    call.settle(index, code)
                    self._condition.notify_all()
                    continue
            wire.send_bytes(b"".join((head, packet_id.to_bytes(2, "big"), tail)))
            sent.append(packet_id)
            self.counters.add("republished")
        return sent

    def _wait(self, call: Publication, deadline: float) -> None:
        left = deadline - time.monotonic()
        error = self._link.error
        if left <= 0 or self._link.broken:
            # What is in flight keeps its packet identifiers [MQTT-2.2.1-4]: a PUBACK that is
            # late must not settle another message. The link's next tick ends the connection.
            call.abandoned = True
            raise ConnectionLost(
                f"{call.missing} of {len(call.codes)} messages were not acknowledged in time"
                + (f": {error}" if error else "")
            )
        self._condition.wait(min(left, 1.0))

    # The link's side; see mqtt.client.link.Session.

    def connected(self, wire: Wire, answer: ConnAckPacket, generation: int) -> None:
        """Learns the broker's limits and sends what is still in flight.

        Raises:
          ConnectionRefused: the broker takes QoS 0 only.
        """
        if answer.max_qos == QoS.AT_MOST_ONCE:
            raise ConnectionRefused(
                f"{wire.address} takes QoS 0 only, which acknowledges nothing; messages are"
                " published at QoS 1",
                reason_code=_QOS_NOT_SUPPORTED,
            )
        with self._sending:
            with self._condition:
                self._window = min(self._maximum, answer.receive_max)
                self._largest = answer.max_packet_size
                self._retains = answer.retain_available
                self._in_flight = {
                    packet_id: item
                    for packet_id, item in self._in_flight.items()
                    if not item[0].abandoned
                }
                self._unsent = deque(self._in_flight)
            wire.take_pubacks(self._acknowledged)
            if self._caution.connected(time.monotonic(), unanswered=bool(self._unsent)):
                self._careful = wire
            else:
                self._republish(wire, self._window)
                self._open(wire)
        self._link.set_ready()

    def _open(self, wire: Wire) -> None:
        with self._condition:
            self._careful, self._wire = None, wire
            self._condition.notify_all()

    def _send_carefully(self, wire: Wire) -> None:
        """Sends what may be sent on a connection to be careful with, and opens it to all others
        when nothing is left of what earlier ones broke over.
        """
        now = time.monotonic()
        with self._sending:
            allowance = self._caution.allowance(now)
            if not allowance:
                return
            sent = self._republish(wire, min(allowance, self._window))
            self._caution.sent(sent, now)
            if not sent:
                self._open(wire)

    def received(self, packets: list[Packet]) -> None:
        """Takes PUBACKs that say more than success."""
        answers = [packet for packet in packets if type(packet) is PubAckPacket]
        with self._condition:
            for packet in answers:
                item = self._in_flight.pop(packet.packet_id, None)
                if item is not None:
                    call, index = item
                    call.settle(index, int(packet.reason_code), packet.reason_str or "")
            self._condition.notify_all()
        self._answered(len(answers))

    def _acknowledged(self, packet_ids: Sequence[int]) -> None:
        """Takes PUBACKs that say success."""
        settled = False
        with self._condition:
            pop = self._in_flight.pop
            for packet_id in packet_ids:
                item = pop(packet_id, None)
                if item is not None:
                    call = item[0]
                    call.missing -= 1
                    settled = settled or not call.missing
            room = self._window - len(self._in_flight)
            # Waking somebody up for nothing costs more than these messages.
            if settled or 0 < self._wanted_room <= room:
                self._wanted_room = 0
                self._condition.notify_all()
        self._answered(len(packet_ids))

    def _answered(self, count: int) -> None:
        if not count:
            return
        self._caution.answered(count)
        if self._careful is not None:
            self._send_carefully(self._careful)
        elif self._unsent and self._wire is not None:
            self._republish(self._wire, count)

    def lost(self, told: str) -> None:
        """Waits for the next connection; gives up the message that this one broke over."""
        with self._condition:
            self._wire = self._careful = None
            guilty = self._caution.lost(time.monotonic(), unanswered=bool(self._in_flight))
            item = self._in_flight.pop(guilty, None) if guilty is not None else None
            if item is None:
                return
            call, index = item
            call.settle(index, _IMPLEMENTATION_SPECIFIC, told)
            self._condition.notify_all()
        self.counters.add("given_up")
        topic = topic_field(call.heads[index])[2:].decode()
        _LOGGER.warning(
            "a message to %s was given up: the broker closes the connection whenever it is sent%s;"
            " may this user publish there?",
            topic,
            f", and says: {told}" if told else "",
        )

    def tick(self, now: float) -> None:
        """Raises ConnectionLost for messages that nobody waits for any longer: only another
        connection can use their packet identifiers.
        """
        with self._condition:
            abandoned = sum(item[0].abandoned for item in self._in_flight.values())
        if abandoned:
            raise ConnectionLost(
                f"the broker left {abandoned} messages unacknowledged for too long"
            )
        if self._careful is not None:
            self._send_carefully(self._careful)

    def wanted(self, since: float) -> bool:
        """Always: whoever has a publisher publishes, and no other process has its client id."""
        return True

    @property
    def full(self) -> bool:
        """Never: only acknowledgements arrive."""
        return False

    @property
    def pause_seconds(self) -> float:
        """A moment while many answers are on their way: reading each by itself would cost more
        than all the rest that is done for its message.
        """
        return _PAUSE_SECONDS if len(self._in_flight) > _MANY_IN_FLIGHT else 0.0
