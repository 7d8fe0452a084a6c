"""Clients that outlive the broker: they come back within milliseconds and keep their own state.

Of what a client must keep [MQTT-4.1.0-1] they keep all, over any number of attempts to come back.
paho does not: an attempt that fails makes it publish again what it had released (QoS 2).
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    Packet,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from mqtt.codec import Decoder, ProtocolVersion, encode

IN_FLIGHT = 100
_AGAIN_SECONDS = 0.01
_READ_SECONDS = 0.005


class LastingClient(threading.Thread):
    """Connected whenever it can be, until it is told to leave."""

    def __init__(
        self, port: int, client_id: str, *, user: str, password: str, protocol: ProtocolVersion
    ) -> None:
        super().__init__(name=client_id, daemon=True)
        self.connections = 0
        self.lost_sessions = 0
        self.leaving = threading.Event()
        self.away = threading.Event()
        self._port = port
        self._protocol = protocol
        v5 = protocol is ProtocolVersion.V5
        self._connect = ConnectPacket(
            client_id,
            username=user,
            password=password.encode(),
            clean_start=False,
            session_expiry_interval=3_600 if v5 else 0,
        )
        self._sock: socket.socket | None = None

    def run(self) -> None:
        while not self.leaving.is_set():
            # Whatever breaks the connection, it comes back.
            with suppress(OSError):
                if not self.away.is_set():
                    self._converse()
            time.sleep(_AGAIN_SECONDS)

    def resumed(self, *, first: bool) -> None:
        """The broker has accepted the connection."""

    def take(self, packet: Packet) -> None:
        """A packet came."""

    def idle(self) -> None:
        """Everything that came is taken."""

    def send(self, *packets: Packet) -> None:
        assert self._sock is not None
        self._sock.sendall(b"".join(encode(packet, self._protocol) for packet in packets))

    def _converse(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as self._sock:
            self.send(self._connect)
            decoder = Decoder(protocol=self._protocol)
            accepted = False
            while not self.leaving.is_set() and not self.away.is_set():
                try:
                    data = self._sock.recv(65_536)
                except TimeoutError:
                    data = None
                if data == b"":
                    return
                for packet in decoder.feed(data or b""):
                    if isinstance(packet, ConnAckPacket):
                        assert not int(packet.reason_code), packet
                        first = self.connections == 0
                        self.lost_sessions += not first and not packet.session_present
                        self.connections += 1
                        accepted = True
                        self._sock.settimeout(_READ_SECONDS)
                        self.resumed(first=first)
                    else:
                        self.take(packet)
                if accepted:
                    self.idle()


class LastingWriter(LastingClient):
    """Publishes numbers at QoS 1 and 2 by turns, to a topic of each, without a pause."""

    def __init__(self, port: int, name: str, **login: object) -> None:
        super().__init__(port, f"storm-{name}", **login)  # type: ignore[arg-type]
        self.topic = f"storm/{name}"
        self.sent = 0
        self.acknowledged = 0
        self.stopping = threading.Event()
        self._published: dict[int, PublishPacket] = {}
        self._released: dict[int, PubRelPacket] = {}
        self._next_id = 1

    @property
    def done(self) -> bool:
        """Whether it has stopped and everything is acknowledged."""
        return self.stopping.is_set() and self.acknowledged == self.sent

    def resumed(self, *, first: bool) -> None:
        # [MQTT-4.4.0-1]
        again = [self._packet(packet, duplicate=True) for packet in self._published.values()]
        self.send(*self._released.values(), *again)

    def take(self, packet: Packet) -> None:
        match packet:
            case PubAckPacket():
                self.acknowledged += self._published.pop(packet.packet_id, None) is not None
            case PubRecPacket():
                self._published.pop(packet.packet_id, None)
                release = self._released[packet.packet_id] = PubRelPacket(packet.packet_id)
                self.send(release)
            case PubCompPacket():
                self.acknowledged += self._released.pop(packet.packet_id, None) is not None

    def idle(self) -> None:
        room = IN_FLIGHT - len(self._published) - len(self._released)
        if self.stopping.is_set() or room <= 0:
            return
        new = []
        for _ in range(room):
            qos = QoS(1 + self.sent % 2)
            packet = PublishPacket(
                f"{self.topic}/{int(qos)}", b"%d" % self.sent, qos=qos, packet_id=self._next_id
            )
            self._published[self._next_id] = packet
            self._next_id = self._next_id % 65_535 + 1
            self.sent += 1
            new.append(packet)
        self.send(*new)

    def _packet(self, packet: PublishPacket, *, duplicate: bool) -> PublishPacket:
        return PublishPacket(
            packet.topic,
            packet.payload,
            qos=packet.qos,
            packet_id=packet.packet_id,
            duplicate=duplicate,
        )


class LastingReader(LastingClient):
    """Subscribes to everything at QoS 2; ``got``: payloads by topic, in the order of arrival."""

    def __init__(self, port: int, topic_filter: str, **login: object) -> None:
        super().__init__(port, "storm-reader", **login)  # type: ignore[arg-type]
        self.subscribed = threading.Event()
        self.got: dict[str, list[str]] = {}
        self._topic_filter = topic_filter
        self._received: set[int] = set()

    def resumed(self, *, first: bool) -> None:
        if first:
            wanted = TopicFilter(self._topic_filter, max_qos=QoS.EXACTLY_ONCE)
            self.send(SubscribePacket(1, [wanted]))

    def take(self, packet: Packet) -> None:
        match packet:
            case SubAckPacket():
                self.subscribed.set()
            case PublishPacket(packet_id=int(packet_id)) if packet.qos == QoS.EXACTLY_ONCE:
                if packet_id not in self._received:
                    self._received.add(packet_id)
                    self._note(packet)
                self.send(PubRecPacket(packet_id))
            case PublishPacket(packet_id=int(packet_id)):
                self._note(packet)
                self.send(PubAckPacket(packet_id))
            case PubRelPacket():
                self._received.discard(packet.packet_id)
                self.send(PubCompPacket(packet.packet_id))

    def _note(self, packet: PublishPacket) -> None:
        self.got.setdefault(packet.topic, []).append(packet.payload.decode())
