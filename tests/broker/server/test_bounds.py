"""What clients can cost a broker: a real process, raw sockets that read when they are told to."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import argon2
import psutil
import pytest
from mqtt5 import (
    ConnectPacket,
    PingRespPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)

from mqtt.codec import Decoder, ProtocolVersion, encode
from tests.harness.processes import Process

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
MB = 1_000_000
_REGISTRY = """\
version: 1
roles:
  all: {{publish: {{allow: ["devices/#"]}}, subscribe: {{allow: ["devices/#"]}}}}
devices:
  d1: {{role: all, password_hash: '{hash}'}}
services:
  s: {{role: all, client_id_prefix: s-, password_hash: '{hash}'}}
"""
_HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")


@contextmanager
def broker(folder: Path, limits: str = "") -> Iterator[tuple[int, psutil.Process]]:
    (folder / "registry.yaml").write_text(_REGISTRY.format(hash=_HASH))
    (folder / "broker.yaml").write_text(
        "listeners: [{type: tcp, host: 127.0.0.1, port: 0}]\n"
        f"registry: {{file: registry.yaml}}\n{limits}"
    )
    command = [sys.executable, "-m", "broker.server", "--config", str(folder / "broker.yaml")]
    process = Process(command, log=folder / "broker.log")
    try:
        port = int(process.wait_for(r"^ready mqtt://[^:]+:(\d+)")[1])
        yield port, psutil.Process(process.pid)
    finally:
        process.kill()


def asked(
    port: int, client_id: str, protocol: ProtocolVersion, *, lasting: bool = False
) -> tuple[socket.socket, int]:
    """Connects, and returns the code of the CONNACK too."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    connect = ConnectPacket(
        client_id,
        username=client_id.partition("-")[0],
        password=b"secret",
        clean_start=not lasting,
        session_expiry_interval=3_600 if lasting and protocol is V5 else 0,
    )
    sock.sendall(encode(connect, protocol))
    # No more than the CONNACK: a session's messages stand right behind it.
    kind, length = sock.recv(2)
    assert kind == 0x20
    return sock, sock.recv(length)[1]


def connected(
    port: int, client_id: str, protocol: ProtocolVersion, *, lasting: bool = False
) -> socket.socket:
    sock, code = asked(port, client_id, protocol, lasting=lasting)
    assert code == 0
    return sock


def subscribe(sock: socket.socket, protocol: ProtocolVersion) -> None:
    wanted = TopicFilter("devices/#", max_qos=QoS.AT_LEAST_ONCE)
    sock.sendall(encode(SubscribePacket(1, [wanted]), protocol))
    assert sock.recv(1_000)[0] == 0x90


def publish(number: int, size: int, qos: int, protocol: ProtocolVersion) -> bytes:
    payload = str(number).encode().ljust(size, b".")
    packet_id = number + 1 if qos else None
    return encode(
        PublishPacket("devices/d1/x", payload, qos=QoS(qos), packet_id=packet_id), protocol
    )


@pytest.mark.parametrize("qos", [0, 1])
def test_a_device_that_stalls_under_a_flood_of_100_mb_costs_at_most_16_mb(
    tmp_path: Path, qos: int
) -> None:
    with broker(tmp_path) as (port, process), connected(port, "d1", V5) as device:
        subscribe(device, V5)
        with connected(port, "s-1", V5) as publisher:
            before = process.memory_info().rss
            largest = before
            decoder, acknowledged = Decoder(protocol=V5), 0
            for number in range(1_000):
                publisher.sendall(publish(number, 100_000, qos, V5))
                while qos and acknowledged < number - 10:
                    acknowledged += len(decoder.feed(publisher.recv(65_536)))
                if number % 20 == 0:
                    largest = max(largest, process.memory_info().rss)
            publisher.sendall(b"\xc0\x00")
            publisher.settimeout(30)
            while publisher.recv(65_536)[-2:] != b"\xd0\x00":
                pass
            largest = max(largest, process.memory_info().rss)
    assert largest - before < 16 * MB


def test_a_publisher_of_3_1_1_waits_while_too_much_waits_in_all_and_loses_nothing(
    tmp_path: Path,
) -> None:
    with broker(tmp_path, "limits: {queued_bytes: 1000000}\n") as (port, _):
        with connected(port, "s-reader", V5, lasting=True) as reader:
            subscribe(reader, V5)
        with connected(port, "s-1", V311) as publisher:
            count = 60
            publisher.sendall(b"".join(publish(n, 50_000, 1, V311) for n in range(30)))
            publisher.settimeout(1)
            acknowledged = b""
            with contextlib.suppress(TimeoutError):
                while True:
                    acknowledged += publisher.recv(1_000)
            assert 0 < len(acknowledged) // 4 < 30
            with connected(port, "s-reader", V5, lasting=True) as reader:
                reader.settimeout(20)
                publisher.settimeout(20)
                publisher.sendall(b"".join(publish(n, 50_000, 1, V311) for n in range(30, count)))
                decoder, got = Decoder(protocol=V5), list[int]()
                while len(got) < count:
                    for packet in decoder.feed(reader.recv(65_536)):
                        assert isinstance(packet, PublishPacket)
                        got.append(int(packet.payload.rstrip(b".")))
                        reader.sendall(b"\x40\x02" + (packet.packet_id or 0).to_bytes(2))
            while len(acknowledged) < 4 * count:
                acknowledged += publisher.recv(1_000)
    assert got == list(range(count))


def test_a_device_above_its_rate_is_read_from_more_slowly_and_loses_nothing(tmp_path: Path) -> None:
    limits = "limits: {device_messages_per_second: 100, rate_burst_seconds: 1}\n"
    count, took = 400, dict[str, float]()
    with broker(tmp_path, limits) as (port, _):
        for client_id in ("d1", "s-1"):
            with connected(port, client_id, V311) as publisher:
                began = time.monotonic()
                publisher.settimeout(20)
                acknowledged = b""
                for number in range(0, count, 10):
                    some = range(number, number + 10)
                    publisher.sendall(b"".join(publish(n, 10, 1, V311) for n in some))
                    while len(acknowledged) < 4 * (number + 10):
                        acknowledged += publisher.recv(10_000)
                took[client_id] = time.monotonic() - began
    assert took["d1"] > 2
    assert took["s-1"] < took["d1"] / 2, "a service is not slowed"
    log = (tmp_path / "broker.log").read_text()
    assert log.count("d1: not read from for a while: it sends more than 100 messages") == 1


def test_a_slowed_device_is_as_fast_as_the_limits_that_sighup_brings(tmp_path: Path) -> None:
    slow = "limits: {device_messages_per_second: 1, rate_burst_seconds: 1}\n"
    with broker(tmp_path, slow) as (port, process), connected(port, "d1", V5) as publisher:
        publisher.sendall(b"".join(publish(n, 10, 1, V5) for n in range(1_000)))
        publisher.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                publisher.recv(100_000)
        publisher.sendall(b"\xc0\x00")
        with pytest.raises(TimeoutError):
            publisher.recv(1)
        config = tmp_path / "broker.yaml"
        config.write_text(config.read_text().replace("second: 1,", "second: 1000,"))
        process.send_signal(signal.SIGHUP)
        publisher.settimeout(20)
        answers = b""
        while answers[-2:] != b"\xd0\x00":
            answers += publisher.recv(10_000)


MEMORY_BASE = 30 * MB
"""Beside what is counted: what the allocator keeps, and what is being handled."""


def test_whatever_clients_do_they_cost_what_they_may_in_all(tmp_path: Path) -> None:
    limits = (
        "limits: {memory_bytes: 60000000, device_messages_per_second: null,"
        " device_bytes_per_second: null}\n"
    )
    with broker(tmp_path, limits) as (port, process), contextlib.ExitStack() as opened:
        before = largest = process.memory_info().rss

        def flood(client_id: str, packets: Iterator[bytes]) -> int:
            """Sends what is acknowledged with QoS 1, until it is refused."""
            nonlocal largest
            decoder, refused = Decoder(protocol=V5), 0
            # It stays, or else its own part would be free again.
            publisher = opened.enter_context(connected(port, client_id, V5))
            for number, packet in enumerate(packets):
                publisher.sendall(packet)
                if number % 50:
                    continue
                publisher.sendall(b"\xc0\x00")
                answers = list[object]()
                while not any(isinstance(answer, PingRespPacket) for answer in answers):
                    answers += decoder.feed(publisher.recv(65_536))
                largest = max(largest, process.memory_info().rss)
                acks = [answer for answer in answers if isinstance(answer, PubAckPacket)]
                refused += sum(ack.reason_code == 0x97 for ack in acks)
                if refused > 500:
                    break
            return refused

        def retained() -> Iterator[bytes]:
            for number in range(3_000):
                topic = "devices/d1/" + "/".join("abcdefgh") + f"/{number}"
                yield PublishPacket(topic, b"x", qos=QoS(1), packet_id=1, retain=True).write()

        with connected(port, "s-reader", V5, lasting=True) as reader:
            subscribe(reader, V5)
        idle = [opened.enter_context(connected(port, f"s-{n}", V5)) for n in range(300)]
        assert flood("d1", retained()) == 0
        assert flood("s-x", (publish(0, 20, 1, V5) for _ in range(40_000))) == 0
        assert flood("s-y", (publish(0, 2_000, 1, V5) for _ in range(40_000))) > 500
        refused, code = asked(port, "s-new", V5)
        refused.close()
        assert code == 0x97
        packet = publish(0, 10 * MB, 1, V5)
        for sock in idle[:20]:
            with contextlib.suppress(ConnectionError):
                sock.sendall(packet[: 5 * MB])
            largest = max(largest, process.memory_info().rss)
        assert largest - before < 60 * MB + MEMORY_BASE
        assert largest - before > 60 * MB // 2, "it was a flood"
        with connected(port, "s-reader", V5, lasting=True) as reader:
            assert reader.recv(1_000), "who has a session comes back, and gets what waits"
