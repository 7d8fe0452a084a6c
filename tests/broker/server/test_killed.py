"""A broker process with a store, killed by kill -9: what it acknowledged is there again."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.registry import Service, generate
from tests.harness.processes import Process
from tests.harness.waiting import wait_until


def configured(folder: Path) -> dict[str, str]:
    """Writes a configuration with a store. Returns the services' passwords."""
    services = [
        Service(name="all", role="observer", client_id_prefix="all-"),
        Service(name="cmd", role="command-pipeline", client_id_prefix="cmd-"),
    ]
    (folder / "broker.yaml").write_text(
        "listeners: [{type: tcp, host: 127.0.0.1, port: 0}]\n"
        "registry: {file: registry.yaml}\nstore: {file: broker.db}\n"
    )
    return generate(folder / "registry.yaml", devices=(), services=services)


def start(folder: Path) -> Process:
    command = [sys.executable, "-m", "broker.server", "--config", str(folder / "broker.yaml")]
    return Process(command, log=folder / "broker.log")


def port_of(process: Process) -> int:
    return int(process.wait_for(r"^ready mqtt://[^:]+:(\d+)").group(1))


def subscribed(reader: paho.Client) -> None:
    confirmed: list[object] = []
    reader.on_subscribe = lambda *told: confirmed.append(told)
    reader.subscribe("devices/#", qos=1)
    wait_until(lambda: confirmed, seconds=5, what="SUBACK")


def connected(port: int, name: str, password: str) -> tuple[paho.Client, list[bytes]]:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"{name}-0",
        protocol=paho.MQTTv5,
        # Its thread ends with the broker, and need not be waited for.
        reconnect_on_failure=False,
    )
    client.username_pw_set(name, password)
    got: list[bytes] = []
    client.on_message = lambda _client, _data, message: got.append(bytes(message.payload))
    lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
    lasting.SessionExpiryInterval = 3_600
    client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
    client.loop_start()
    wait_until(client.is_connected, seconds=10, what=f"{name} connected")
    return client, got


def test_a_store_that_can_not_be_written_ends_the_broker_and_acknowledges_nothing(
    tmp_path: Path,
) -> None:
    passwords = configured(tmp_path)
    process = start(tmp_path)
    try:
        port = port_of(process)
        reader, _ = connected(port, "all", passwords["all"])
        subscribed(reader)
        # From here on it reads nothing, so what is sent to it stays unacknowledged.
        reader.loop_stop()
        writer, _ = connected(port, "cmd", passwords["cmd"])
        writer.publish("devices/d1/commands", b"kept", qos=1).wait_for_publish(5)
        # No file of its may grow any more, as on a full disk.
        largest = max(file.stat().st_size for file in tmp_path.glob("broker.db*"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        refused = writer.publish("devices/d1/commands", b"x" * 2 * largest, qos=1)
        assert process.wait_for_end(seconds=10) == 2
        writer.loop_stop()
        assert not refused.is_published()
        assert "broker.db can't be written" in process.said()
        assert "Traceback" not in process.said()
    finally:
        process.kill()
    again = start(tmp_path)
    try:
        reader, got = connected(port_of(again), "all", passwords["all"])
        wait_until(lambda: got, seconds=10, what="what was acknowledged")
        assert got == [b"kept"]
    finally:
        again.kill()
    reader.loop_stop()


def test_what_was_acknowledged_outlives_ten_kills(tmp_path: Path) -> None:
    passwords = configured(tmp_path)
    acknowledged: list[bytes] = []
    for life in range(10):
        process = start(tmp_path)
        try:
            port = port_of(process)
            if life == 0:
                reader, _ = connected(port, "all", passwords["all"])
                subscribed(reader)
                reader.loop_stop()
            writer, _ = connected(port, "cmd", passwords["cmd"])
            for number in range(20):
                payload = b"%d-%d" % (life, number)
                sent = writer.publish("devices/d1/commands", payload, qos=1 + number % 2)
                sent.wait_for_publish(5)
                assert sent.is_published()
                acknowledged.append(payload)
        finally:
            process.kill()
        writer.loop_stop()
    process = start(tmp_path)
    try:
        port = port_of(process)
        reader, got = connected(port, "all", passwords["all"])
        wait_until(
            lambda: set(acknowledged) <= set(got),
            seconds=10,
            what=lambda: f"{len(set(acknowledged) - set(got))} are missing",
        )
        assert [payload for payload in got if payload in set(acknowledged)] == acknowledged
    finally:
        process.kill()
    reader.loop_stop()
