"""Publishing at QoS 1: a bounded window of unacknowledged messages, an outcome for each.

MQTT 5.0 sections 3.3, 3.4 and 4.9 (flow control).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from mqtt5 import ConnAckPacket, Packet, PubAckPacket, PublishPacket, QoS

from mqtt.client.counts import Counts
from mqtt.client.link import Link
from mqtt.client.settings import ConnectionSettings
from mqtt.client.wire import Wire
from mqtt.codec import ProtocolVersion, encode
from mqtt.errors import ConnectionLost, ConnectionRefused, TopicError
from mqtt.topics import check_topic_name

_CHUNK = 250
"""Messages written to the socket in one go."""

_MALFORMED_PACKET = 0x81
_TOPIC_NAME_INVALID = 0x90
_PACKET_TOO_LARGE = 0x95
_RETAIN_NOT_SUPPORTED = 0x9A
_QOS_NOT_SUPPORTED = 0x9B


class Message(NamedTuple):
    """What is to be published; the properties are left out on MQTT 3.1.1."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_seconds: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: Sequence[tuple[str, str]] = ()


class Publication:
    """Messages that are waited for together; made by :meth:`Publisher.open`, used by one thread.

    ``add`` sends as the window allows while earlier messages are still unanswered; ``wait``
    returns when the last is answered.
    """

    def __init__(self, publisher: Publisher, timeout_seconds: float) -> None:
        self._publisher = publisher
        self._deadline = time.monotonic() + timeout_seconds
        self.missing = 0
        self.abandoned = False
        self.codes: list[int | None] = []

    def add(self, messages: Sequence[Message]) -> None:
        """Sends messages at QoS 1. Raises ConnectionLost if there is no room in time."""
        for start in range(0, len(messages), _CHUNK):
            self._publisher._send(self, messages[start : start + _CHUNK], self._deadline)

    def wait(self) -> list[int]:
        """Returns each message's reason code, in the order added.

        0x00 is success, 0x10 no matching subscribers, 0x80 and above a refusal by the broker.
        Some are also given for messages that were not sent, because a broker would end the
        connection over them: 0x90 (topic name invalid), 0x81 (another field is nothing that MQTT
        can carry), 0x95 (packet too large), 0x9A (the broker retains nothing).

        Raises:
          ConnectionLost: not all were acknowledged in time; they may have been delivered.
        """
        self._publisher._wait_for_all(self, self._deadline)
        return [code for code in self.codes if code is not None]

    def settle(self, index: int, code: int) -> None:
        """Notes an answer. For the publisher."""
        self.codes[index] = code
        self.missing -= 1


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
        self._in_flight: dict[int, tuple[Publication, int, PublishPacket]] = {}
        # In flight, and not yet sent on this connection.
        self._unsent: deque[int] = deque()
        self._last_id = 0
        self._wire: Wire | None = None
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

    def publish(self, messages: Sequence[Message], *, timeout_seconds: float) -> list[int]:
        """Publishes and waits: ``add`` and ``wait`` of one :class:`Publication`."""
        publication = self.open(timeout_seconds=timeout_seconds)
        publication.add(messages)
        return publication.wait()

    def close(self) -> None:
        """Disconnects."""
        self._link.close()

    def _send(self, call: Publication, messages: Sequence[Message], deadline: float) -> None:
        sent = 0
        while sent < len(messages):
            with self._condition:
                while not self._has_room(len(messages) - sent):
                    self._wait(call, deadline)
            with self._sending:
                with self._condition:
                    wire = self._wire
                    room = self._window - len(self._in_flight) if wire is not None else 0
                    taken = messages[sent : sent + max(0, room)]
                    data = [self._encode(call, message) for message in taken]
                sent += len(taken)
                if wire is not None and taken:
                    # If it fails the link notices too, and connected() sends what is in flight.
                    with contextlib.suppress(ConnectionLost):
                        wire.send_bytes(b"".join(data))
                        self.counters.add("published", sum(map(bool, data)))

    def _has_room(self, count: int) -> bool:
        """Whether it is worth waking up: a wake-up for each PUBACK costs more than a message."""
        if self._wire is None:
            return False
        needed = min(count, max(1, self._window // 4))
        return self._window - len(self._in_flight) >= needed

    def _wait_for_all(self, call: Publication, deadline: float) -> None:
        with self._condition:
            while call.missing:
                self._wait(call, deadline)

    def _encode(self, call: Publication, message: Message) -> bytes:
        """Puts a message in flight; nothing comes back where it can't be sent at all."""
        packet_id = self._next_id()
        index = len(call.codes)
        call.codes.append(None)
        call.missing += 1
        try:
            packet = self._packet(message, packet_id)
            encoded = encode(packet, self._protocol)
            code = self._unwanted(packet, encoded)
        except TopicError:
            code = _TOPIC_NAME_INVALID
        except (ValueError, OverflowError):
            code = _MALFORMED_PACKET
        if code is not None:
            call.settle(index, code)
            return b""
        self._in_flight[packet_id] = (call, index, packet)
        return encoded

    def _packet(self, message: Message, packet_id: int) -> PublishPacket:
        """Raises TopicError, ValueError, OverflowError for what must not go onto the wire."""
        check_topic_name(message.topic)
        if self._protocol is ProtocolVersion.V311:
            return PublishPacket(
                message.topic,
                message.payload,
                qos=QoS.AT_LEAST_ONCE,
                packet_id=packet_id,
                retain=message.retain,
            )
        if message.response_topic is not None:
            # [MQTT-3.3.2-14]
            check_topic_name(message.response_topic)
        texts = [message.content_type or "", *itertools.chain(*message.user_properties)]
        if any("\0" in text for text in texts):
            # [MQTT-1.5.4-2], which the codec lets through
            raise ValueError("U+0000 in a property")
        return PublishPacket(
            message.topic,
            message.payload,
            qos=QoS.AT_LEAST_ONCE,
            packet_id=packet_id,
            retain=message.retain,
            message_expiry_interval=message.expiry_seconds,
            content_type=message.content_type,
            response_topic=message.response_topic,
            correlation_data=message.correlation_data,
            user_properties=list(message.user_properties),
        )

    def _unwanted(self, packet: PublishPacket, encoded: bytes) -> int | None:
        """Returns the reason code of a packet that this broker has said it does not take."""
        if self._largest is not None and len(encoded) > self._largest:
            # [MQTT-3.2.2-15]
            return _PACKET_TOO_LARGE
        if packet.retain and not self._retains:
            # [MQTT-3.2.2-14]
            return _RETAIN_NOT_SUPPORTED
        return None

    def _republish(self, wire: Wire, count: int) -> None:
        """Sends up to ``count`` that an earlier connection left without an answer.

        [MQTT-3.3.4-9]: never more unanswered than the broker's receive maximum, which may be
        smaller on this connection than it was on the last.
        """
        while count > 0 and self._unsent:
            packet_id = self._unsent.popleft()
            with self._condition:
                if packet_id not in self._in_flight:
                    continue
                call, index, packet = self._in_flight[packet_id]
                encoded = encode(packet, self._protocol)
                code = self._unwanted(packet, encoded)
                if code is not None:
                    # Another broker than the one that it was first meant for.
                    del self._in_flight[packet_id]
                    call.settle(index, code)
                    self._condition.notify_all()
                    continue
            wire.send_bytes(encoded)
            count -= 1
            self.counters.add("republished")

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

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._in_flight:
                return self._last_id

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
            self._republish(wire, self._window)
            with self._condition:
                self._wire = wire
                self._condition.notify_all()
        self._link.set_ready()

    def received(self, packets: list[Packet]) -> None:
        """Takes PUBACKs."""
        if self._unsent and self._wire is not None:
            self._republish(self._wire, len(packets))
        with self._condition:
            for packet in packets:
                if type(packet) is not PubAckPacket:
                    continue
                item = self._in_flight.pop(packet.packet_id, None)
                if item is not None:
                    call, index, _ = item
                    call.settle(index, int(packet.reason_code))
            self._condition.notify_all()

    def lost(self) -> None:
        """Waits for the next connection."""
        with self._condition:
            self._wire = None

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

    @property
    def full(self) -> bool:
        """Never: only acknowledgements arrive."""
        return False
