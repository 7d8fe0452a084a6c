"""The beginning of an MQTT connection of the bench: CONNECT and SUBSCRIBE over a plain socket."""

from __future__ import annotations

import socket
from typing import TypeVar

import mqtt5

from bench.brokers import CLIENT_ID_PREFIX, USER
from bench.processes import LOOPBACK, BenchError
from mqtt.codec import Decoder, ProtocolVersion, encode

_ANSWER_SECONDS = 30.0
_SESSION_SECONDS = 3600
_Answer = TypeVar("_Answer", mqtt5.ConnAckPacket, mqtt5.SubAckPacket)


class Session:
    """A connection that the broker has accepted. ``rest``: what came behind its last answer.

    ``lasting``: the session is resumed where there is one, and outlives the connection.

    Raises:
      BenchError: the broker refused it, or answered with something else.
    """

    def __init__(
        self,
        port: int,
        name: str,
        *,
        password: str,
        protocol: ProtocolVersion = ProtocolVersion.V5,
        lasting: bool = False,
    ) -> None:
        self.protocol = protocol
        self.name = CLIENT_ID_PREFIX + name
        self.rest = b""
        self.socket = socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(
            mqtt5.ConnectPacket(
                self.name,
                username=USER,
                password=password.encode(),
                clean_start=not lasting,
                session_expiry_interval=_SESSION_SECONDS if lasting else 0,
                keep_alive=0,
            )
        )
        answer = self._expect(mqtt5.ConnAckPacket)
        if int(answer.reason_code):
            raise BenchError(f"the broker refused {self.name}: {answer}")
        self.resumed = answer.session_present

    def subscribe(self, topic_filter: str) -> None:
        """Subscribes at QoS 1."""
        at_least_once = mqtt5.TopicFilter(topic_filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        self.send(mqtt5.SubscribePacket(1, [at_least_once]))
        (code,) = self._expect(mqtt5.SubAckPacket).reason_codes
        if int(code) >= 0x80:
            raise BenchError(f"the broker refused {self.name} the filter {topic_filter}: {code}")

    def send(self, packet: mqtt5.Packet) -> None:
        """Sends one packet."""
        self.socket.sendall(encode(packet, self.protocol))

    def close(self) -> None:
        """Says goodbye."""
        self.send(mqtt5.DisconnectPacket())
        self.socket.close()

    def _expect(self, kind: type[_Answer]) -> _Answer:
        data = self.rest
        # Answers to both are shorter than 130 bytes.
        while len(data) < 2 or len(data) < 2 + data[1]:
            came = self.socket.recv(4096)
            if not came:
                raise BenchError(f"the broker hung up on {self.name}")
            data += came
        size = 2 + data[1]
        (answer,) = Decoder(protocol=self.protocol).feed(data[:size])
        if not isinstance(answer, kind):
            raise BenchError(f"the broker answered {self.name} with {answer}")
        self.rest = data[size:]
        return answer
