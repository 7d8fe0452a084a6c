"""A start with much in the store: probes are told that it isn't ready, and all of it is there."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
from mqtt5 import ConnectPacket, PublishPacket, QoS

from broker.core.facts import Changes, SessionKept
from broker.registry import Service, generate
from broker.store import SqliteStore, Synchronous
from localcloud.endpoints import free_ports
from mqtt.codec import Decoder, ProtocolVersion
from tests.harness.processes import Process

MESSAGES = 100_000
MB = 1_000_000


def fill(path: Path) -> None:
    now = time.time()
    store = SqliteStore(path, synchronous=Synchronous.NORMAL, core_to_wall=0.0)
    session = SessionKept(
        client_id="all-1", owner="all", device=False, expiry_seconds=3_600, ended_at=now
    )
    store.commit(Changes(facts=[session]))
    for first in range(1, MESSAGES, 20_000):
        numbers = range(first, first + 20_000)
        packets = {
            n: PublishPacket("a/b", b"%d".ljust(200) % n, qos=QoS(1), packet_id=1).write()
            for n in numbers
        }
        store.commit(
            Changes(
                messages=[(n, packets[n], "a/b", "d1", None) for n in numbers],
                deliveries=[(n, "all-1", n, 1, False, "", None, 0) for n in numbers],
            )
        )
    store.close()


def ready(port: int) -> int | None:
    """The answer to a probe, None where nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()


def test_probes_are_answered_while_a_large_store_is_taken_up(tmp_path: Path) -> None:
    fill(tmp_path / "broker.db")
    services = (Service(name="all", role="observer", client_id_prefix="all-"),)
    passwords = generate(tmp_path / "registry.yaml", devices=(), services=services)
    health_port, port = free_ports(2)
    config = tmp_path / "broker.yaml"
    config.write_text(
        f"listeners: [{{type: tcp, host: 127.0.0.1, port: {port}}}]\n"
        "registry: {file: registry.yaml}\nstore: {file: broker.db}\n"
        f"health: {{host: 127.0.0.1, port: {health_port}}}\n"
    )
    command = [sys.executable, "-m", "broker.server", "--config", str(config)]
    process = Process(command, log=tmp_path / "broker.log")
    try:
        longest, not_ready = 0.0, 0
        deadline = time.monotonic() + 60
        while True:
            began = time.monotonic()
            assert began < deadline
            answer = ready(health_port)
            longest = max(longest, time.monotonic() - began)
            if answer == 200:
                break
            if answer == 503:
                not_ready += 1
            if not_ready == 1:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
            time.sleep(0.02)
        assert not_ready > 2
        assert longest < 0.5
        assert psutil.Process(process.pid).memory_info().rss < 200 * MB
        with socket.create_connection(("127.0.0.1", port), timeout=20) as reader:
            reader.sendall(
                ConnectPacket(
                    "all-1",
                    username="all",
                    password=passwords["all"].encode(),
                    clean_start=False,
                    session_expiry_interval=3_600,
                    receive_max=65_535,
                ).write()
            )
            decoder, got = Decoder(protocol=ProtocolVersion.V5), list[int]()
            while len(got) < MESSAGES:
                packets = decoder.feed(reader.recv(1_000_000))
                messages = [each for each in packets if isinstance(each, PublishPacket)]
                got += [int(each.payload) for each in messages]
                acks = [b"\x40\x02" + (each.packet_id or 0).to_bytes(2) for each in messages]
                reader.sendall(b"".join(acks))
        assert got == list(range(1, MESSAGES + 1))
    finally:
        process.kill()
