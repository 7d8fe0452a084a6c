"""A broker process with a store, killed by kill -9: what it acknowledged is there again."""

from __future__ import annotations

import sys
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.registry import Service, generate
from tests.harness.processes import Process
from tests.harness.waiting import wait_until


def connected(port: int, name: str, password: str) -> tuple[paho.Client, list[bytes]]:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-0", protocol=paho.MQTTv5)
    client.username_pw_set(name, password)
    got: list[bytes] = []
    client.on_message = lambda _client, _data, message: got.append(bytes(message.payload))
    lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
    lasting.SessionExpiryInterval = 3_600
    client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
    client.loop_start()
    wait_until(client.is_connected, seconds=10, what=f"{name} connected")
    return client, got


def test_what_was_acknowledged_outlives_ten_kills(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    services = [
        Service(name="all", role="observer", client_id_prefix="all-"),
        Service(name="cmd", role="command-pipeline", client_id_prefix="cmd-"),
    ]
    passwords = generate(registry, devices=(), services=services)
    config = tmp_path / "broker.yaml"
    config.write_text(
        "listeners: [{type: tcp, host: 127.0.0.1, port: 0}]\n"
        "registry: {file: registry.yaml}\nstore: {file: broker.db}\n"
    )
    command = [sys.executable, "-m", "broker.server", "--config", str(config)]
    acknowledged: list[bytes] = []
    confirmed: list[object] = []
    for life in range(10):
        process = Process(command, log=tmp_path / "broker.log")
        try:
            port = int(process.wait_for(r"^ready mqtt://[^:]+:(\d+)").group(1))
            if life == 0:
                reader, _ = connected(port, "all", passwords["all"])
                reader.on_subscribe = lambda *told: confirmed.append(told)
                reader.subscribe("devices/#", qos=1)
                wait_until(lambda: confirmed, seconds=5, what="SUBACK")
                reader.loop_stop()
            writer, _ = connected(port, "cmd", passwords["cmd"])
            for number in range(20):
                payload = b"%d-%d" % (life, number)
                sent = writer.publish("devices/d1/commands", payload, qos=1 + number % 2)
                sent.wait_for_publish(5)
                assert sent.is_published()
                acknowledged.append(payload)
            writer.loop_stop()
        finally:
            process.kill()
    process = Process(command, log=tmp_path / "broker.log")
    try:
        port = int(process.wait_for(r"^ready mqtt://[^:]+:(\d+)").group(1))
        reader, got = connected(port, "all", passwords["all"])
        wait_until(
            lambda: set(acknowledged) <= set(got),
            seconds=10,
            what=lambda: f"{len(set(acknowledged) - set(got))} are missing",
        )
        reader.loop_stop()
        assert [payload for payload in got if payload in set(acknowledged)] == acknowledged
    finally:
        process.kill()
