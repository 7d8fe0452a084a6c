"""A broker on loopback that does what a test says, packet by packet, and nothing else.

The test is the script: it accepts a connection, reads what the client sent and sends what it
likes. Every wait has a time limit.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    Packet,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
)

from mqtt.client import BrokerAddress, ConnectionSettings
from mqtt.codec import Decoder, ProtocolVersion, encode

PacketT = TypeVar("PacketT")


class Peer:
    """The broker's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.decoder = Decoder()
        self._packets: list[Packet] = []

    def expect(self, kind: type[PacketT], *, seconds: float = 5) -> PacketT:
        """Returns the next packet, which must be of this kind."""
        packet = self.next(seconds=seconds)
        assert isinstance(packet, kind), f"{packet} came in place of {kind.__name__}"
        return packet

    def next(self, *, seconds: float = 5) -> Packet:
        """Returns the next packet. Raises EOFError at the end, TimeoutError if none comes."""
        deadline = time.monotonic() + seconds
        while not self._packets:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(1_000_000)
            if not data:
                raise EOFError("the client closed the connection")
            self._packets += self.decoder.feed(data)
        return self._packets.pop(0)

    def silent(self, *, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        try:
            packet = self.next(seconds=seconds)
        except TimeoutError:
            return True
        self._packets.insert(0, packet)
        return False

    def send(self, *packets: Packet) -> None:
        protocol = self.decoder.protocol
        assert protocol is not None, "CONNECT must be read first"
        self.socket.sendall(b"".join(encode(packet, protocol) for packet in packets))

    def publish(self, *messages: tuple[str, bytes], first_id: int = 1, **fields: Any) -> None:
        """Sends messages at QoS 1 with packet identifiers that count up."""
        self.send(
            *(
                PublishPacket(
                    topic, payload, qos=QoS.AT_LEAST_ONCE, packet_id=first_id + index, **fields
                )
                for index, (topic, payload) in enumerate(messages)
            )
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class ScriptedBroker:
    """Listens on a port of the system's choosing while the context is open."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: list[Peer] = []

    @property
    def address(self) -> BrokerAddress:
        port = self._listener.getsockname()[1]
        return BrokerAddress("localhost", port, self._tls is not None)

    def settings(self, **changes: Any) -> ConnectionSettings:
        """Settings for a client that does not wait long."""
        defaults: dict[str, Any] = {
            "addresses": (self.address,),
            "client_id": "client",
            "session_expiry_seconds": 60,
            "connect_timeout_seconds": 5,
            "backoff_initial_seconds": 0.01,
            "backoff_maximum_seconds": 0.02,
        }
        return ConnectionSettings(**(defaults | changes))

    def accept(self, *, seconds: float = 5) -> Peer:
        """Waits for a connection, TLS included."""
        self._listener.settimeout(seconds)
        sock, _ = self._listener.accept()
        sock.settimeout(seconds)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except BaseException:
                sock.close()
                raise
        peer = Peer(sock)
        self._peers.append(peer)
        return peer

    def welcome(self, **answer: Any) -> tuple[Peer, ConnectPacket]:
        """Accepts a connection and its CONNECT; ``answer``: fields of the CONNACK."""
        peer = self.accept()
        connect = peer.expect(ConnectPacket)
        peer.send(ConnAckPacket(**answer))
        return peer, connect

    def subscribed(
        self, codes: Sequence[SubAckReasonCode] | None = None, **answer: Any
    ) -> tuple[Peer, SubscribePacket]:
        """Accepts a connection and grants its SUBSCRIBE."""
        peer, _ = self.welcome(**answer)
        subscribe = peer.expect(SubscribePacket)
        if codes is None:
            codes = [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(subscribe.topic_filters)
        peer.send(SubAckPacket(subscribe.packet_id, list(codes)))
        return peer, subscribe

    def connections(self, *, seconds: float) -> int:
        """How many more connections come in so long; they are closed at once."""
        deadline = time.monotonic() + seconds
        count = 0
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.accept(seconds=left).close()
            except TimeoutError:
                break
            count += 1
        return count

    def close(self) -> None:
        self._listener.close()
        for peer in self._peers:
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


V311 = ProtocolVersion.V311
V5 = ProtocolVersion.V5
