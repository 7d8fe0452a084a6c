"""The broker is killed in the midst of a load, again and again: `make test-kills`.

Two writers publish at QoS 1 and 2 without a pause, one in each version of MQTT, to a reader that
is there most of the time; all have lasting sessions. In some lives a client with a will connects,
or a retained message is replaced.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import argon2
import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
    Will,
)

from localcloud.endpoints import free_ports
from mqtt.codec import Decoder, ProtocolVersion
from tests.broker.server.lasting_clients import LastingClient, LastingReader, LastingWriter
from tests.harness.processes import Process
from tests.harness.waiting import wait_until

PASSWORD = "secret"
KILLS = 20
LONGEST_LIFE_SECONDS = 0.4
_REGISTRY = """\
version: 1
roles:
  storm:
    publish: {allow: ["storm/#"]}
    subscribe: {allow: ["storm/#"]}
    will: {allow: ["storm/#"]}
services:
  storm: {role: storm, client_id_prefix: storm-, password_hash: HASH}
"""
# Cheap, so that lives of a few hundred milliseconds are not spent on the login.
_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_CONFIG = """\
listeners: [{{type: tcp, host: 127.0.0.1, port: {port}}}]
registry: {{file: registry.yaml}}
store: {{file: broker.db}}
"""


def start(folder: Path) -> Process:
    command = [sys.executable, "-m", "broker.server", "--config", str(folder / "broker.yaml")]
    process = Process(command, log=folder / "broker.log")
    process.wait_for("^ready ")
    return process


def logged_in(port: int, name: str, will: Will | None = None) -> socket.socket:
    """A connection that was accepted."""
    connect = ConnectPacket(
        f"storm-{name}", username="storm", password=PASSWORD.encode(), will=will
    )
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(connect.write())
    (answer,) = Decoder(protocol=ProtocolVersion.V5).feed(made.recv(1_000))
    assert isinstance(answer, ConnAckPacket)
    assert not int(answer.reason_code)
    return made


def mortal(port: int, life: int) -> socket.socket:
    """A client with a will, which it will not take back."""
    payload = str(life).encode()
    will = Will(topic="storm/wills", payload=payload, qos=QoS.AT_LEAST_ONCE)
    return logged_in(port, f"mortal-{life}", will)


def keep(port: int, life: int) -> None:
    """Replaces the retained message; it is acknowledged when this returns."""
    packet = PublishPacket(
        "storm/kept", str(life).encode(), qos=QoS.AT_LEAST_ONCE, packet_id=1, retain=True
    )
    with logged_in(port, f"keeper-{life}") as sock:
        sock.sendall(packet.write())
        assert sock.recv(1_000)[0] == 0x40


@pytest.mark.kills
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(10))
def test_nothing_acknowledged_is_lost_and_qos_2_comes_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    (port,) = free_ports(1)
    (tmp_path / "broker.yaml").write_text(_CONFIG.format(port=port))
    registry = _REGISTRY.replace("HASH", repr(_HASHER.hash(PASSWORD)))
    (tmp_path / "registry.yaml").write_text(registry)
    process = start(tmp_path)
    clients: list[LastingClient] = []
    mortals: list[int] = []
    retained = -1
    killed_under_way = 0
    try:
        login = {"user": "storm", "password": PASSWORD}
        reader = LastingReader(port, "storm/#", protocol=ProtocolVersion.V5, **login)
        clients.append(reader)
        reader.start()
        assert reader.subscribed.wait(10)
        writers = [
            LastingWriter(port, "new", protocol=ProtocolVersion.V5, **login),
            LastingWriter(port, "old", protocol=ProtocolVersion.V311, **login),
        ]
        clients += writers
        for writer in writers:
            writer.start()
        for life in range(KILLS):
            with_reader = rng.random() < 0.7
            if not with_reader:
                reader.away.set()
            with ExitStack() as opened:
                if rng.random() < 0.5:
                    opened.enter_context(mortal(port, life))
                    mortals.append(life)
                before = sum(writer.acknowledged for writer in writers)
                if rng.random() < 0.5:
                    keep(port, life)
                    retained = life
                time.sleep(rng.uniform(0.0, LONGEST_LIFE_SECONDS))
                process.kill()
                killed_under_way += sum(writer.acknowledged for writer in writers) > before
            process = start(tmp_path)
            if not with_reader:
                reader.away.clear()
        for writer in writers:
            writer.stopping.set()
        wait_until(
            lambda: all(writer.done for writer in writers),
            seconds=60,
            what="everything is acknowledged",
        )
        wait_until(
            lambda: not missing(reader, writers),
            seconds=60,
            what=lambda: f"{missing(reader, writers)} of them never came",
        )
        wait_until(
            lambda: {*map(str, mortals)} <= {*reader.got.get("storm/wills", ())},
            seconds=10,
            what=lambda: f"wills of {mortals}; came: {reader.got.get('storm/wills')}",
        )
        for writer in writers:
            exactly_once = reader.got[f"{writer.topic}/2"]
            assert [each for each, times in Counter(exactly_once).items() if times > 1] == []
            assert list(map(int, exactly_once)) == list(range(1, writer.sent, 2))
            at_least_once = list(dict.fromkeys(map(int, reader.got[f"{writer.topic}/1"])))
            assert at_least_once == list(range(0, writer.sent, 2))
        for each in (reader, *writers):
            assert each.lost_sessions == 0
            assert each.connections > KILLS / 2
        if retained >= 0:
            assert kept(port) == str(retained)
        # A storm that hardly ever met work under way has shown nothing.
        assert killed_under_way > KILLS / 2
    finally:
        for each in clients:
            each.leaving.set()
        process.kill()


def missing(reader: LastingReader, writers: list[LastingWriter]) -> int:
    """How many distinct messages have not come yet."""
    topics = [f"{writer.topic}/{qos}" for writer in writers for qos in (1, 2)]
    came = sum(len(set(reader.got.get(topic, ()))) for topic in topics)
    return sum(writer.sent for writer in writers) - came


def kept(port: int) -> str:
    """The retained message that a new client gets."""
    with logged_in(port, "fresh") as sock:
        sock.sendall(SubscribePacket(1, [TopicFilter("storm/kept")]).write())
        decoder = Decoder(protocol=ProtocolVersion.V5)
        while True:
            for packet in decoder.feed(sock.recv(1_000)):
                if isinstance(packet, PublishPacket):
                    return packet.payload.decode()
