"""MQTT over WebSocket: through a server of the websockets package, and to brokers that speak it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from mqtt.client import BrokerAddress, ConnectionSettings, Message, TlsFiles
from mqtt.codec import ProtocolVersion
from mqtt.errors import BrokerUnreachable
from mqtt.topics import TopicFilter
from tests.harness.brokers import Broker, start_amqtt, start_own
from tests.harness.certificates import Authority, server_context
from tests.harness.processes import Processes
from tests.mqtt.client.conftest import Connect, Subscribe

_FRAME_BYTES = 7


class Gateway:
    """A WebSocket server before a broker, which answers in frames that cut packets anywhere."""

    def __init__(self, broker: Broker, *, tls: ssl.SSLContext | None = None) -> None:
        self._broker = broker
        self._connections: set[ServerConnection] = set()
        self._server = serve(
            self._carry,
            "127.0.0.1",
            0,
            ssl=tls,
            subprotocols=[Subprotocol("mqtt")],
            process_request=self._path,
            compression=None,
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        port = self._server.socket.getsockname()[1]
        self.address = BrokerAddress("localhost", port, tls is not None, "/mqtt")

    def drop(self) -> None:
        """Closes the connections that stand."""
        for connection in list(self._connections):
            connection.close()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _path(self, connection: ServerConnection, request: Request) -> Response | None:
        return None if request.path == "/mqtt" else connection.respond(404, "no broker here\n")

    def _carry(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        with socket.create_connection((self._broker.host, self._broker.port)) as broker:
            back = threading.Thread(target=self._carry_back, args=(broker, connection))
            back.start()
            with contextlib.suppress(ConnectionClosed, OSError):
                for data in connection:
                    assert isinstance(data, bytes)
                    broker.sendall(data)
            with contextlib.suppress(OSError):
                broker.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _carry_back(broker: socket.socket, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            while data := broker.recv(65_536):
                for start in range(0, len(data), _FRAME_BYTES):
                    connection.send(data[start : start + _FRAME_BYTES])
            connection.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        yield start_own(processes, folder, devices=["d1"])


@pytest.fixture
def gateway(broker: Broker) -> Iterator[Gateway]:
    gateway = Gateway(broker)
    yield gateway
    gateway.close()


def settings(
    broker: Broker, address: BrokerAddress, user: str, client_id: str, **changes: Any
) -> ConnectionSettings:
    credentials: dict[str, Any] = {}
    if user in broker.passwords:
        credentials = {"username": user, "password": broker.passwords[user].encode}
    return ConnectionSettings(
        addresses=(address,),
        client_id=client_id,
        backoff_initial_seconds=0.05,
        **(credentials | changes),
    )


def round_trip(
    broker: Broker, address: BrokerAddress, publish: Connect, subscribe: Subscribe, **changes: Any
) -> None:
    payloads = [bytes([number]) * 1_000 * number for number in range(20)]
    topic = TopicFilter.parse("devices/+/telemetry/#")
    subscriber = subscribe(
        settings(broker, address, "telemetry", "telemetry-0", **changes), str(topic)
    )
    subscriber.wait_ready(10)
    publisher = publish(settings(broker, address, "d1", "d1", **changes))
    messages = [Message("devices/d1/telemetry/x", payload) for payload in payloads]
    assert publisher.publish(messages, timeout_seconds=10) == [0] * 20
    got: list[bytes] = []
    while len(got) < len(payloads):
        batch = subscriber.take(100, 10)
        assert batch is not None, f"{len(got)} messages came"
        got += [packet.payload for packet in batch.packets]
        subscriber.acknowledge([batch])
    assert got == payloads


def test_packets_travel_in_frames_however_they_are_cut(
    broker: Broker, gateway: Gateway, publish: Connect, subscribe: Subscribe
) -> None:
    round_trip(broker, gateway.address, publish, subscribe)


def test_packets_travel_in_frames_through_tls(
    broker: Broker, publish: Connect, subscribe: Subscribe, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    gateway = Gateway(broker, tls=server_context(authority.sign("localhost")))
    try:
        files = TlsFiles(ca_file=authority.file)
        round_trip(broker, gateway.address, publish, subscribe, tls=files)
    finally:
        gateway.close()


def test_a_lost_websocket_is_made_again(broker: Broker, gateway: Gateway, publish: Connect) -> None:
    publisher = publish(settings(broker, gateway.address, "d1", "d1", stable_seconds=0.01))
    message = Message("devices/d1/telemetry/x", b"x")
    assert publisher.publish([message], timeout_seconds=10)[0] < 0x80
    gateway.drop()
    assert publisher.publish([message], timeout_seconds=10)[0] < 0x80
    assert publisher.counters["connects"] == 2


def test_a_wrong_path_is_told(broker: Broker, gateway: Gateway, subscribe: Subscribe) -> None:
    address = BrokerAddress("localhost", gateway.address.port, False, "/other")
    subscriber = subscribe(settings(broker, address, "telemetry", "telemetry-0"))
    with pytest.raises(BrokerUnreachable, match=r"404 Not Found; is /other the path"):
        subscriber.wait_ready(1)


def test_a_port_without_websocket_is_told(broker: Broker, subscribe: Subscribe) -> None:
    address = BrokerAddress(broker.host, broker.port, False, "/mqtt")
    subscriber = subscribe(settings(broker, address, "telemetry", "telemetry-0"))
    with pytest.raises(BrokerUnreachable, match="speak MQTT over WebSocket on this port"):
        subscriber.wait_ready(1)


def test_another_broker_that_speaks_websocket_is_spoken_to(
    tmp_path: Path, publish: Connect, subscribe: Subscribe
) -> None:
    # Not mosquitto: its library listens on every interface, whatever address it is given.
    with Processes(tmp_path) as processes:
        broker = start_amqtt(processes, tmp_path, websocket=True)
        address = BrokerAddress(broker.host, broker.port, False, "/mqtt")
        round_trip(broker, address, publish, subscribe, protocol=ProtocolVersion.V311)
