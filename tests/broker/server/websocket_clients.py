"""WebSocket clients of which a test sees every byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mqtt5 import (
    ConnectPacket,
)
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from tests.broker.server.conftest import Running

PINGRESP = b"\xd0\x00"
TELEMETRY = "devices/d1/telemetry/x"
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


@contextmanager
def opened(broker: Running, path: str = "/mqtt", **options: Any) -> Iterator[Connection]:
    settings: dict[str, Any] = {"subprotocols": [Subprotocol("mqtt")], "max_size": None, **options}
    with connect(f"ws://127.0.0.1:{broker.port}{path}", **settings) as client:
        yield client


def login(broker: Running, user: str = "d1", client_id: str = "d1") -> bytes:
    password = broker.passwords[user].encode()
    return ConnectPacket(client_id, username=user, password=password, clean_start=True).write()


def received(client: Connection, count: int) -> bytes:
    got = b""
    while len(got) < count:
        data = client.recv(10)
        assert isinstance(data, bytes)
        got += data
    return got


@contextmanager
def raw(broker: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as sock:
        yield sock


@contextmanager
def upgraded(broker: Running) -> Iterator[socket.socket]:
    """A socket behind its handshake, that reads nothing by itself."""
    with raw(broker) as sock:
        sock.sendall(UPGRADE)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += sock.recv(1)
        assert answer.startswith(b"HTTP/1.1 101")
        yield sock


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def everything(sock: socket.socket) -> bytes:
    """What comes until the server closes, politely or not."""
    got = b""
    try:
        while data := sock.recv(65_536):
            got += data
    except ConnectionResetError:
        pass
    return got
