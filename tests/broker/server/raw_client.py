"""What server tests talk to a broker by: a client that does nothing by itself, and a process."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mqtt5 import ConnAckPacket, ConnectPacket, Packet

from broker.config import Listener, ListenerType
from mqtt.codec import Decoder, ProtocolVersion
from tests.broker.server.conftest import Running
from tests.harness.certificates import self_signed


class Raw:
    """A client made of a socket and the codec, that does nothing by itself."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(10)
        self.decoder = Decoder(protocol=ProtocolVersion.V5)
        self.inbox: list[Packet] = []

    def send(self, packet: Packet) -> None:
        self.socket.sendall(packet.write())

    def next(self) -> Packet | None:
        """The next packet, or None where the server closed the connection."""
        while not self.inbox:
            data = self.socket.recv(65_536)
            if not data:
                return None
            self.inbox += self.decoder.feed(data)
        return self.inbox.pop(0)

    def ends(self) -> bool:
        """Whether the server closes the connection without another packet, politely or not."""
        try:
            return self.next() is None
        except ConnectionError:
            return True

    def send_until_nothing_is_taken(self, data: bytes, *, at_most: int) -> int:
        """Sends ``data`` again and again until the server stops reading. Returns the bytes."""
        sent = 0
        self.socket.settimeout(1)
        try:
            while sent < at_most:
                sent += self.socket.send(data)
        except TimeoutError:
            return sent
        raise AssertionError(f"the server read all of {at_most} bytes")

    def login(self, broker: Running, user: str, client_id: str) -> Raw:
        password = broker.passwords[user].encode()
        self.send(ConnectPacket(client_id, username=user, password=password, clean_start=True))
        answer = self.next()
        assert isinstance(answer, ConnAckPacket)
        assert int(answer.reason_code) == 0
        return self


@contextmanager
def raw(broker: Running, context: ssl.SSLContext | None = None) -> Iterator[Raw]:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            yield Raw(sock)
        else:
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as wrapped:
                yield Raw(wrapped)


@contextmanager
def process(config: Path) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "broker.server", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def tls_listener(folder: Path) -> tuple[Listener, ssl.SSLContext]:
    """A TLS listener with a new certificate, and what a client needs to trust it."""
    signed = self_signed(folder, "127.0.0.1")
    listener = Listener(
        type=ListenerType.TLS,
        port=0,
        certificate_file=Path(signed.certificate),
        key_file=Path(signed.key),
    )
    return listener, ssl.create_default_context(cafile=signed.certificate)
