"""MQTT over WebSocket arrives whole: by clients that others wrote and by this project's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from mqtt5 import (
    PingReqPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from websockets.frames import Opcode

from broker.config import ListenerType
from broker.core.limits import KIB, Limits
from mqtt.client import BrokerAddress, ConnectionSettings, Message, Publisher, Subscriber, TlsFiles
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter as Filter
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.websocket_clients import (
    PINGRESP,
    TELEMETRY,
    frame,
    login,
    opened,
    received,
    upgraded,
)
from tests.harness.certificates import Authority
from tests.harness.conformance import conforms

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


def test_this_project_s_client_is_served_through_tls(
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


@conforms(v5="6.0.0-2", v311="6.0.0-2")
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
