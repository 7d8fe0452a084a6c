"""WebSocket clients that misbehave: what is refused, and what they can cost."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from mqtt5 import (
    DisconnectPacket,
    PingReqPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Opcode
from websockets.typing import Origin, Subprotocol

from broker.core.limits import KIB, MIB, Limits, QueueLimits
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.websocket_clients import (
    TELEMETRY,
    UPGRADE,
    everything,
    frame,
    login,
    opened,
    raw,
    received,
    upgraded,
)
from tests.harness.conformance import conforms


@pytest.mark.parametrize("path", ["/", "/mqtt/", "/other?/mqtt"])
def test_another_path_is_not_found(served: Callable[..., Running], path: str) -> None:
    broker = served()
    with pytest.raises(InvalidStatus) as caught, opened(broker, path):
        pass
    assert caught.value.response.status_code == 404
    eventually(lambda: not broker.server.core.connections)


@pytest.mark.parametrize("offered", [None, [Subprotocol("mqttv3.1")]])
@conforms(v5="6.0.0-4", v311="6.0.0-4")
def test_a_client_that_does_not_offer_the_subprotocol_mqtt_is_told_why_not(
    served: Callable[..., Running], offered: list[Subprotocol] | None
) -> None:
    broker = served()
    with pytest.raises(InvalidStatus) as caught, opened(broker, subprotocols=offered):
        pass
    assert caught.value.response.status_code == 400
    assert b"the subprotocol must be mqtt" in (caught.value.response.body or b"")


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        ((), None, True),
        ((), "https://a.example", False),
        (("https://a.example",), "https://a.example", True),
        (("https://a.example",), "https://a.example.evil.example", False),
        (("https://a.example",), "null", False),
        (("https://a.example",), None, True),
        (("*",), "https://b.example", True),
    ],
)
def test_a_browser_connects_from_listed_sites_alone(
    served: Callable[..., Running], allowed: tuple[str, ...], origin: str | None, passes: bool
) -> None:
    broker = served(allowed_origins=allowed)
    named = None if origin is None else Origin(origin)
    if passes:
        with opened(broker, origin=named) as client:
            assert client.subprotocol == "mqtt"
    else:
        with pytest.raises(InvalidStatus) as caught, opened(broker, origin=named):
            pass
        assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        # paho names its own server.
        ("http://127.0.0.1:80", "127.0.0.1:80", True),
        ("http://localhost:8083", "localhost:8083", True),
        ("https://[::1]:8084", "[::1]:8084", True),
        # Another server of the same machine.
        ("http://127.0.0.1:3000", "127.0.0.1:8083", False),
        ("http://127.0.0.1", "127.0.0.1:8083", False),
        # A name that was made to lead here.
        ("http://evil.example:8083", "evil.example:8083", False),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("http://user@127.0.0.1", "127.0.0.1", False),
        ("http://[::1", "[::1", False),
        ("null", "null", False),
    ],
)
def test_an_address_may_name_itself_and_a_name_may_not(
    served: Callable[..., Running], origin: str, host: str, passes: bool
) -> None:
    request = UPGRADE.replace(b"Host: broker", f"Host: {host}\r\nOrigin: {origin}".encode())
    with raw(served()) as sock:
        sock.sendall(request)
        answer = sock.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 101" if passes else b"HTTP/1.1 403"), answer


def test_compression_is_not_agreed_on(served: Callable[..., Running]) -> None:
    with opened(served(), compression="deflate") as client:
        assert client.protocol.extensions == []


@conforms(v5="6.0.0-1", v311="6.0.0-1")
def test_a_text_frame_ends_the_mqtt_connection(
    served: Callable[..., Running],
) -> None:
    broker = served()
    with opened(broker) as client:
        client.send(login(broker))
        received(client, 5)
        client.send("text")
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv(10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003
    eventually(lambda: not broker.server.core.connections)


def test_websocket_pings_are_answered(served: Callable[..., Running]) -> None:
    with opened(served()) as client:
        assert client.ping().wait(10)


def test_a_goodbye_of_the_broker_comes_before_the_websocket_s(
    served: Callable[..., Running],
) -> None:
    broker = served()
    with opened(broker) as client:
        client.send(login(broker))
        received(client, 5)
        broker.call(broker.server.stop())
        goodbye = client.recv(10)
        assert isinstance(goodbye, bytes)
        assert goodbye[0] == DisconnectPacket().write()[0]
        with pytest.raises(Exception, match="1000"):
            client.recv(10)


@pytest.mark.parametrize("said", [b"", UPGRADE[:60], UPGRADE])
def test_a_handshake_or_connect_that_is_not_done_in_time_is_closed(
    served: Callable[..., Running], said: bytes
) -> None:
    broker = served(Limits(connect_timeout_seconds=1))
    with raw(broker) as sock:
        began = time.monotonic()
        sock.sendall(said)
        everything(sock)
        assert 0.9 < time.monotonic() - began < 5


def test_an_endless_upgrade_request_is_refused(served: Callable[..., Running]) -> None:
    with raw(served()) as sock:
        sock.sendall(UPGRADE[:-2])
        line = b"X: " + b"x" * 1_000 + b"\r\n"
        for _ in range(17):
            sock.sendall(line)
        assert everything(sock).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("said", [b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\n\n", b"a\r\n"])
def test_what_is_no_http_is_closed(served: Callable[..., Running], said: bytes) -> None:
    with raw(served()) as sock:
        sock.sendall(said)
        assert everything(sock) == b""


def test_frames_before_the_handshake_is_answered_are_refused(
    served: Callable[..., Running],
) -> None:
    broker = served()
    with raw(broker) as sock:
        sock.sendall(UPGRADE + frame(login(broker)))
        assert everything(sock) == b""


def test_a_frame_larger_than_any_packet_is_refused_by_its_head(
    served: Callable[..., Running],
) -> None:
    with upgraded(served()) as sock:
        sock.sendall(b"\x82\xff" + (16 * MIB + 1).to_bytes(8, "big") + b"mask")
        assert b"\x03\xf1" in everything(sock)  # 1009


def test_a_stranger_s_frame_costs_no_more_than_a_stranger_s_packet(
    served: Callable[..., Running],
) -> None:
    broker = served(Limits(connect_packet_bytes=300 * KIB))
    with upgraded(broker) as sock:
        sock.sendall(b"\x82\xff" + (16 * MIB).to_bytes(8, "big") + b"mask")
        # Never whole, and answered all the same.
        sock.sendall(b"x" * (16 * MIB - 1))
        assert b"\x03\xf1" in everything(sock)  # 1009
    eventually(lambda: not broker.server.core.connections)


def stalls(sock: socket.socket, data: bytes, *, at_most: int) -> None:
    """Sends again and again until the server stops reading."""
    sock.settimeout(1)
    sent = 0
    try:
        while sent < at_most:
            sent += sock.send(data)
    except TimeoutError:
        return
    raise AssertionError(f"the server read all of {at_most} bytes")


@pytest.mark.parametrize("opcode", [Opcode.BINARY, Opcode.PING])
def test_a_client_that_never_reads_its_answers_is_not_read_from_for_ever(
    served: Callable[..., Running], opcode: Opcode
) -> None:
    broker = served(Limits(write_buffer_bytes=16 * KIB))
    with upgraded(broker) as sock:
        sock.sendall(frame(login(broker)))
        eventually(lambda: broker.server.core.counters.connections_accepted == 1)
        piece = PingReqPacket().write() * 50
        stalls(sock, frame(piece, opcode) * 1_000, at_most=100 * MIB)
        (connection,) = broker.server.core.connections
        protocol: Any = connection.transport
        assert protocol._transport.get_write_buffer_size() < 2 * MIB


def test_a_stalled_subscriber_costs_a_bounded_amount_and_then_gets_what_was_kept(
    served: Callable[..., Running],
) -> None:
    limits = Limits(
        write_buffer_bytes=256 * KIB,
        service_queue=QueueLimits(messages=10_000, bytes=8 * MIB),
        device_bytes_per_second=None,
    )
    broker = served(limits)
    with upgraded(broker) as stalled, opened(broker) as device:
        pattern = TopicFilter("devices/+/telemetry/#", max_qos=QoS.AT_LEAST_ONCE)
        stalled.sendall(frame(login(broker, "all", "all-1")))
        stalled.sendall(frame(SubscribePacket(1, [pattern]).write()))
        device.send(login(broker))
        received(device, 5)
        session = broker.server.core.sessions.get
        eventually(lambda: (found := session("all-1")) and found.subscriptions)
        for number in range(1, 301):
            packet = PublishPacket(
                TELEMETRY, b"x" * 50_000, qos=QoS.AT_LEAST_ONCE, packet_id=number
            )
            device.send(packet.write())
            assert received(device, 4)[0] == PubAckPacket(number).write()[0]
        found = session("all-1")
        assert found is not None
        assert found.held_bytes <= 8 * MIB + 50_000
        assert found.connection is not None
        assert found.connection.buffered_bytes < 512 * KIB
        assert broker.server.core.counters.dropped_queue_full > 50
        # More than the system's buffers have by now.
        got = 0
        while got < 160 * 50_000:
            got += len(stalled.recv(65_536))
