"""MQTT over WebSocket: clients that others wrote, this project's own, and ones that misbehave."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Origin, Subprotocol

from broker.config import Listener, ListenerType
from broker.core.limits import KIB, MIB, Limits, QueueLimits
from broker.server.listeners import tls_context
from mqtt.client import BrokerAddress, ConnectionSettings, Message, Publisher, Subscriber, TlsFiles
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter as Filter
from tests.broker.server.conftest import Running, eventually
from tests.harness.certificates import Authority

PINGRESP = b"\xd0\x00"
TELEMETRY = "devices/d1/telemetry/x"
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


@pytest.fixture
def served(start: Callable[..., Running]) -> Callable[..., Running]:
    """Starts a server with a WebSocket listener."""

    def start_one(limits: Limits | None = None, **listener: Any) -> Running:
        options: dict[str, Any] = {"type": ListenerType.WS, "port": 0, **listener}
        return start(listeners=(Listener(**options),), limits=limits or Limits())

    return start_one


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


LARGE = (b"a", b"b" * 70_000, b"c" * 3_000_000)


def round_trip(
    broker: Running, address: BrokerAddress, payloads: Sequence[bytes] = LARGE, **changes: Any
) -> None:
    def settings(user: str, client_id: str) -> ConnectionSettings:
        password = broker.passwords[user].encode
        return ConnectionSettings(
            addresses=(address,),
            client_id=client_id,
            username=user,
            password=password,
            **changes,
        )

    subscriber = Subscriber(settings("tele", "tele-1"), [Filter.parse("devices/+/telemetry/#")])
    publisher = Publisher(settings("d1", "d1"))
    try:
        subscriber.wait_ready(10)
        messages = [Message(TELEMETRY, payload) for payload in payloads]
        assert publisher.publish(messages, timeout_seconds=10) == [0] * len(payloads)
        got: list[bytes] = []
        while len(got) < len(payloads):
            batch = subscriber.take(100, 10)
            assert batch is not None, f"{len(got)} messages came"
            got += [packet.payload for packet in batch.packets]
            subscriber.acknowledge([batch])
        assert got == list(payloads)
        assert publisher.counters["connects"] == 1
    finally:
        publisher.close()
        subscriber.close()


@pytest.mark.parametrize("protocol", [ProtocolVersion.V311, ProtocolVersion.V5])
def test_this_project_s_client_is_served(
    served: Callable[..., Running], protocol: ProtocolVersion
) -> None:
    broker = served(path="/broker")
    assert broker.server.urls == [f"ws://127.0.0.1:{broker.port}/broker"]
    address = BrokerAddress("127.0.0.1", broker.port, False, "/broker")
    round_trip(broker, address, protocol=protocol)


def test_this_project_s_client_writes_no_frame_larger_than_a_broker_of_small_packets_takes(
    served: Callable[..., Running],
) -> None:
    broker = served(Limits(maximum_packet_bytes=300 * KIB))
    address = BrokerAddress("127.0.0.1", broker.port, False, "/mqtt")
    round_trip(broker, address, [bytes([number]) * 200_000 for number in range(20)])


def test_this_project_s_client_is_served_through_tls_1_2_or_newer(
    served: Callable[..., Running], tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    signed = authority.sign("127.0.0.1")
    broker = served(
        type=ListenerType.WSS, certificate_file=Path(signed.certificate), key_file=Path(signed.key)
    )
    assert broker.server.urls == [f"wss://127.0.0.1:{broker.port}/mqtt"]
    address = BrokerAddress("127.0.0.1", broker.port, True, "/mqtt")
    round_trip(broker, address, tls=TlsFiles(ca_file=authority.file))
    # Not by a handshake: many systems' own settings would refuse 1.1 without ours.
    context = tls_context(
        Listener(
            type=ListenerType.WSS,
            certificate_file=Path(signed.certificate),
            key_file=Path(signed.key),
        )
    )
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_messages_arrive_whole(
    served: Callable[..., Running], protocol: MQTTProtocolVersion
) -> None:
    broker = served()
    got: list[bytes] = []
    clients: list[paho.Client] = []

    def client(user: str, client_id: str) -> paho.Client:
        made = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=protocol, transport="websockets"
        )
        # It names a site of its own making, as no device of ours should have to.
        made.ws_set_options("/mqtt", lambda headers: _without_origin(headers))
        made.username_pw_set(user, broker.passwords[user])
        made.on_message = lambda client, data, message: got.append(bytes(message.payload))
        made.connect("127.0.0.1", broker.port)
        made.loop_start()
        clients.append(made)
        eventually(made.is_connected)
        return made

    try:
        subscriber, granted = client("tele", "tele-1"), []
        subscriber.on_subscribe = lambda *of_it: granted.append(of_it)
        subscriber.subscribe("devices/+/telemetry/#", 2)
        eventually(lambda: granted)
        device = client("d1", "d1")
        payloads = [b"", b"x" * 127, b"y" * 1_000_000]
        for payload in payloads:
            device.publish(TELEMETRY, payload, 2).wait_for_publish(10)
        eventually(lambda: len(got) == 3)
        assert got == payloads
    finally:
        for made in clients:
            made.disconnect()
            made.loop_stop()


def _without_origin(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Origin"}


def test_packets_need_not_begin_where_frames_do(served: Callable[..., Running]) -> None:
    broker = served()
    ping = PingReqPacket().write()
    with upgraded(broker) as sock:
        whole = login(broker)
        sock.sendall(frame(whole[:5]) + frame(whole[5:9], fin=False))
        sock.sendall(frame(whole[9:], Opcode.CONT) + frame(ping * 3 + ping[:1]) + frame(ping[1:]))
        got = b""
        while got.count(PINGRESP) < 4:
            data = sock.recv(65_536)
            assert data, got
            got += data


def test_a_large_packet_leaves_in_frames_that_small_clients_can_hold(
    served: Callable[..., Running],
) -> None:
    broker = served()
    with opened(broker) as client, opened(broker, max_size=64 * KIB) as small:
        small.send(login(broker, "tele", "tele-1"))
        received(small, 5)
        pattern = TopicFilter("devices/+/telemetry/#", max_qos=QoS.AT_MOST_ONCE)
        small.send(SubscribePacket(1, [pattern]).write())
        received(small, 5)
        client.send(login(broker))
        received(client, 5)
        packet = PublishPacket(TELEMETRY, b"x" * 1_000_000)
        client.send(packet.write())
        assert received(small, 1_000_000).endswith(b"x" * 1_000)


@pytest.mark.parametrize("path", ["/", "/mqtt/", "/other?/mqtt"])
def test_another_path_is_not_found(served: Callable[..., Running], path: str) -> None:
    broker = served()
    with pytest.raises(InvalidStatus) as caught, opened(broker, path):
        pass
    assert caught.value.response.status_code == 404
    eventually(lambda: not broker.server.core.connections)


@pytest.mark.parametrize("offered", [None, [Subprotocol("mqttv3.1")]])
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


def test_compression_is_not_agreed_on(served: Callable[..., Running]) -> None:
    with opened(served(), compression="deflate") as client:
        assert client.protocol.extensions == []


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
        with pytest.raises(ConnectionError):
            sock.sendall(b"x" * (16 * MIB - 1))
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
        write_buffer_bytes=256 * KIB, service_queue=QueueLimits(messages=10_000, bytes=8 * MIB)
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
