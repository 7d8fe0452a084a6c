"""The same with what others ship as containers: mosquitto, EMQX, HiveMQ CE, Google's emulator."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker  # type: ignore[import-untyped]  # ships without type information
import pytest
from mqtt5 import ConnectPacket
from paho.mqtt.enums import MQTTProtocolVersion
from testcontainers.core.container import DockerContainer

from localcloud.subscriber import PubSub
from tests.harness.brokers import Broker
from tests.harness.cloud import Cloud
from tests.harness.devices import V5, V311
from tests.harness.processes import Processes
from tests.harness.round_trip import up_and_down
from tests.harness.waiting import wait_until

# Images are large and come over the network.
pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

_START_SECONDS = 120.0
_CONNACK = 0x20
_MQTT_PORT = 1883
_PUBSUB_PORT = 8085

BROKERS = {
    # The image's own configuration for trying it out; else it takes no connection from outside.
    "mosquitto": ("eclipse-mosquitto:2.0.22", "mosquitto -c /mosquitto-no-auth.conf"),
    "emqx": ("emqx/emqx:5.8.6", None),
    "hivemq": ("hivemq/hivemq-ce:2024.9", None),
}
EMULATOR = (
    "gcr.io/google.com/cloudsdktool/google-cloud-cli:emulators",
    f"gcloud beta emulators pubsub start --project=local --host-port=0.0.0.0:{_PUBSUB_PORT}",
)


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    try:
        docker.from_env(timeout=10).ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers: {error}")


@pytest.fixture
def open_now() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(open_now: ExitStack, image: str, command: str | None, port: int) -> tuple[str, int]:
    """Starts a container that ends with the test; returns where its port is to be reached."""
    container = DockerContainer(image).with_exposed_ports(port)
    if command is not None:
        container = container.with_command(command)
    open_now.enter_context(container)
    return container.get_container_host_ip(), int(container.get_exposed_port(port))


def speaks_mqtt(host: str, port: int) -> bool:
    """Whether a CONNECT is answered: the engine takes connections before the broker is up."""
    try:
        with socket.create_connection((host, port), timeout=5) as sock:
            sock.sendall(ConnectPacket("probe", clean_start=True).write())
            return sock.recv(1) == bytes([_CONNACK])
    except OSError:
        return False


@pytest.mark.parametrize("protocol", [V311, V5], ids=["3.1.1", "5"])
@pytest.mark.parametrize("name", BROKERS)
def test_messages_go_up_and_commands_down(
    cloud: Cloud, open_now: ExitStack, tmp_path: Path, name: str, protocol: MQTTProtocolVersion
) -> None:
    host, port = start(open_now, *BROKERS[name], _MQTT_PORT)
    wait_until(lambda: speaks_mqtt(host, port), seconds=_START_SECONDS, what=name)
    broker = Broker(host=host, port=port, folder=tmp_path)
    option = f"--protocol={'5' if protocol is V5 else '3.1.1'}"
    up_and_down(cloud, broker, option, protocol=protocol, count=500)


def test_googles_pubsub_emulator_takes_the_place_of_ours(
    processes: Processes, own_broker: Broker, open_now: ExitStack
) -> None:
    host, port = start(open_now, *EMULATOR, _PUBSUB_PORT)
    cloud = Cloud(processes=processes, pubsub=f"{host}:{port}")
    with PubSub(cloud.pubsub) as client:
        client.wait_until_up(_START_SECONDS)
    cloud.create()
    up_and_down(cloud, own_broker, protocol=V5, count=500)
