"""Behind a proxy: only those that are listed, with the client's own address and perhaps name."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import ConnAckPacket, ConnectPacket

from broker.auth.passwords import PasswordAuthenticator
from broker.config import Listener
from broker.core.limits import Limits
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, raw, tls_listener
from tests.broker.server.test_proxy_protocol import header, tcp4, tls

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"),)


def behind(**options: Any) -> Listener:
    return Listener(port=0, **({"proxies": HERE} | options))


@contextmanager
def proxied(broker: Running, head: bytes) -> Iterator[Raw]:
    with raw(broker) as client:
        client.socket.sendall(head)
        yield client


def connack(client: Raw, packet: ConnectPacket) -> int:
    client.send(packet)
    answer = client.next()
    assert isinstance(answer, ConnAckPacket)
    return int(answer.reason_code)


def test_the_client_s_address_is_the_one_that_the_proxy_tells(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    broker = start(listeners=(behind(),))
    with caplog.at_level("INFO", "broker"), proxied(broker, tcp4()) as client:
        client.login(broker, "d1", "d1")
        (connection,) = broker.server.core.connections
        assert connection.peer == "192.0.2.7:50000"
        eventually(lambda: "connected from 192.0.2.7:50000" in caplog.text)


def test_a_proxy_that_speaks_for_itself_has_its_own_address(
    start: Callable[..., Running],
) -> None:
    broker = start(listeners=(behind(),))
    with proxied(broker, header(b"", command=0x20)) as client:
        client.login(broker, "d1", "d1")
        (connection,) = broker.server.core.connections
        assert connection.peer.startswith("127.0.0.1:")


def test_header_and_connect_may_come_in_any_pieces(start: Callable[..., Running]) -> None:
    broker = start(listeners=(behind(),))
    password = broker.passwords["d1"].encode()
    data = tcp4() + ConnectPacket("d1", username="d1", password=password).write()
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        with raw(broker) as client:
            for piece in pieces:
                client.socket.sendall(piece)
            assert isinstance(client.next(), ConnAckPacket)


@pytest.mark.parametrize(
    ("listener", "head"),
    [
        pytest.param(behind(proxies=ELSEWHERE), tcp4(), id="a proxy that is not listed"),
        pytest.param(behind(proxies=ELSEWHERE), b"", id="a client that comes past the proxy"),
        pytest.param(behind(), b"", id="a listed one without a header"),
        pytest.param(behind(), b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", id="version 1"),
        pytest.param(Listener(port=0), tcp4(), id="a header where none is expected"),
    ],
)
def test_anyone_else_is_sent_away(
    start: Callable[..., Running], listener: Listener, head: bytes
) -> None:
    broker = start(listeners=(listener,))
    password = broker.passwords["d1"].encode()
    # It may be gone before we have said anything.
    with contextlib.suppress(ConnectionError), proxied(broker, head) as client:
        client.send(ConnectPacket("d1", username="d1", password=password))
        assert client.ends()
    assert broker.server.core.counters.connections_accepted == 0


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        (behind(proxies=ELSEWHERE), "refused, it is not among the listener's proxies"),
        (behind(), "closed, no header of the PROXY protocol, version 2"),
    ],
    ids=["who is not listed", "a listed one without a header"],
)
def test_those_who_are_sent_away_are_told_in_few_lines(
    start: Callable[..., Running],
    caplog: pytest.LogCaptureFixture,
    listener: Listener,
    words: str,
) -> None:
    broker = start(listeners=(listener,))
    for _ in range(20):
        with contextlib.suppress(ConnectionError), proxied(broker, b"GET / HTTP/1.1\r\n") as client:
            assert client.ends()
    broker.call(broker.server.stop())
    told = [line for line in caplog.messages if words in line]
    assert len(told) == 2
    assert told[0].startswith("127.0.0.1:")
    assert told[1].startswith("19 connections, the last from 127.0.0.1:")


def test_a_header_has_its_time(start: Callable[..., Running]) -> None:
    broker = start(listeners=(behind(),), limits=Limits(connect_timeout_seconds=1))
    with proxied(broker, tcp4()[:20]) as client:
        assert client.ends()


def test_a_certificate_s_name_is_taken_where_the_listener_says_so(
    start: Callable[..., Running],
) -> None:
    broker = start(
        listeners=(
            behind(proxy_common_name="device:{name}"),
            behind(),
        )
    )
    head = tcp4(tls(b"device:d1"))
    with proxied(broker, head) as client:
        assert connack(client, ConnectPacket("d1")) == 0
    with proxied(broker, head) as client:
        assert connack(client, ConnectPacket("d2")) == 0x85
    with proxied(broker, head) as client:
        assert connack(client, ConnectPacket("d1", username="d2")) == 0x86
    for other in (tcp4(tls(b"device:d1", verified=1)), tcp4(tls(b"d1")), tcp4()):
        with proxied(broker, other) as client:
            assert connack(client, ConnectPacket("d1")) == 0x86
    # The other listener trusts nobody's word.
    port = int(broker.server.urls[1].rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(head)
        assert connack(Raw(sock), ConnectPacket("d1")) == 0x86


def test_the_header_comes_before_tls(start: Callable[..., Running], tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(replace(listener, proxies=HERE),))
    with proxied(broker, tcp4()) as client:
        assert isinstance(client.socket, socket.socket)
        with context.wrap_socket(client.socket, server_hostname="127.0.0.1") as wrapped:
            Raw(wrapped).login(broker, "d1", "d1")
            (connection,) = broker.server.core.connections
            assert connection.peer == "192.0.2.7:50000"
    with pytest.raises((ssl.SSLError, OSError)), raw(broker, context):
        pass


def test_connections_of_one_address_are_bounded_but_for_this_machine_s(
    start: Callable[..., Running],
) -> None:
    limits = Limits(connections_per_address=1)
    broker = start(listeners=(behind(), Listener(port=0)), limits=limits)
    neighbour = tcp4(host=bytes((192, 0, 2, 8)))
    with proxied(broker, tcp4()) as first:
        first.login(broker, "d1", "d1")
        with proxied(broker, tcp4()) as second:
            assert second.ends()
        with proxied(broker, neighbour) as third:
            third.login(broker, "d2", "d2")
    eventually(lambda: not broker.server.core.connections)
    with proxied(broker, tcp4()) as again:
        again.login(broker, "d1", "d1")
    port = int(broker.server.urls[1].rsplit(":", 1)[1])
    with (
        socket.create_connection(("127.0.0.1", port)) as one,
        socket.create_connection(("127.0.0.1", port)) as two,
    ):
        Raw(one).login(broker, "d3", "d3")
        Raw(two).login(broker, "d4", "d4")


def test_who_was_told_to_go_gives_way_to_one_from_the_same_address_alone(
    start: Callable[..., Running],
) -> None:
    limits = Limits(connections=3, connections_per_address=1, connect_timeout_seconds=1)
    broker = start(listeners=(behind(),), limits=limits)
    neighbour = tcp4(host=bytes((192, 0, 2, 8)))
    with proxied(broker, tcp4()) as silent, proxied(broker, neighbour) as there:
        there.login(broker, "d2", "d2")
        assert silent.next() is None
        with proxied(broker, neighbour) as second:
            assert second.ends()
        assert broker.server.core.counters.connections_over_limit == 1
        with proxied(broker, tcp4()) as again:
            again.login(broker, "d1", "d1")


def test_failed_logins_are_counted_by_the_client_s_address(
    start: Callable[..., Running],
) -> None:
    broker = start(listeners=(behind(),), limits=Limits(failed_logins_per_device=1))
    wrong = ConnectPacket("d1", username="d1", password=b"wrong")
    for expected in (0x86, 0x89):
        with proxied(broker, tcp4()) as client:
            assert connack(client, wrong) == expected
    with proxied(broker, tcp4(host=bytes((192, 0, 2, 8)))) as client:
        assert connack(client, wrong) == 0x86


def test_a_flood_of_logins_from_one_address_keeps_no_other_waiting(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start(listeners=(behind(),), limits=Limits(pending_authentications=10))
    verify = PasswordAuthenticator.verify

    def slowly(self: PasswordAuthenticator, *arguments: Any) -> Any:
        time.sleep(0.5)
        return verify(self, *arguments)

    monkeypatch.setattr(PasswordAuthenticator, "verify", slowly)
    with contextlib.ExitStack() as flood:
        guessers = []
        for number in range(20):
            guesser = flood.enter_context(proxied(broker, tcp4()))
            guesser.send(ConnectPacket("x", username=f"n{number}", password=b"guess"))
            guessers.append(guesser)
        eventually(lambda: broker.server.core.counters.connections_refused >= 8)
        # Ten wait for two threads, 2.5 s in all, and there is no place: it gets one, and is next.
        began = time.monotonic()
        with proxied(broker, tcp4(host=bytes((192, 0, 2, 8)))) as device:
            device.login(broker, "d1", "d1")
        assert time.monotonic() - began < 2
