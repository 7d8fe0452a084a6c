"""The server as a process and as a listener: start, stop, limits, TLS, back-pressure."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from broker.auth.authenticator import Attempt
from broker.auth.identity import Login, Tell
from broker.config import Listener
from broker.core.limits import KIB, MIB, Limits, QueueLimits
from broker.registry import generate
from broker.server.client import ClientProtocol
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, process, raw, tls_listener
from tests.harness.conformance import conforms


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_and_tells_its_clients(
    tmp_path: Path, number: signal.Signals
) -> None:
    passwords = generate(tmp_path / "registry.yaml", devices=["d1"])
    config = tmp_path / "broker.yaml"
    config.write_text("listeners: [{port: 0}]\nregistry: {file: registry.yaml}\n")
    with process(config) as running:
        assert running.stdout is not None
        word, url = running.stdout.readline().split()
        assert word == "ready"
        host, port = url.removeprefix("mqtt://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            client = Raw(sock)
            client.send(ConnectPacket("d1", username="d1", password=passwords["d1"].encode()))
            assert isinstance(client.next(), ConnAckPacket)
            running.send_signal(number)
            goodbye = client.next()
            assert isinstance(goodbye, DisconnectPacket)
            assert int(goodbye.reason_code) == 0x8B
            assert client.next() is None
        assert running.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("listener: []", "listener: is not known here"),
        ("registry: {file: nowhere.yaml}", "nowhere.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_ends_the_start_with_one_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    config = tmp_path / "broker.yaml"
    config.write_text(text)
    with process(config) as running:
        output, errors = running.communicate(timeout=20)
        assert (output, running.returncode) == ("", 2)
        assert complaint in errors
        assert "Traceback" not in errors


def test_an_address_in_use_ends_the_start_and_closes_what_was_open(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "broker.yaml"
        config.write_text(f"listeners: [{{port: 0}}, {{port: {port}}}]")
        with process(config) as running:
            _, errors = running.communicate(timeout=20)
            assert running.returncode == 2
            assert f"cannot listen on 127.0.0.1:{port}: taken by" in errors
            assert "stop that, or choose another port" in errors


def test_a_registry_that_has_nobody_is_warned_of(tmp_path: Path) -> None:
    config = tmp_path / "broker.yaml"
    config.write_text('listeners: [{port: 0}]\nregistry: {url: "sqlite:///registri.db"}\n')
    with process(config) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("ready ")
        running.terminate()
        _, errors = running.communicate(timeout=20)
        assert "registri.db has nobody: nobody can connect" in errors


def test_without_a_registry_nobody_gets_in(start: Callable[..., Running]) -> None:
    broker = start(registry_file=None)
    for username in (None, "d1"):
        with raw(broker) as client:
            client.send(ConnectPacket("d1", username=username))
            answer = client.next()
            assert isinstance(answer, ConnAckPacket)
            assert int(answer.reason_code) == 0x86
            assert client.next() is None


def test_connections_beyond_the_limit_are_closed_counted_and_told_in_few_lines(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    broker = start(limits=Limits(connections=1))
    with raw(broker) as first:
        first.login(broker, "d1", "d1")
        for _ in range(20):
            with raw(broker) as other:
                assert other.ends()
        first.send(PingReqPacket())
        assert isinstance(first.next(), PingRespPacket)
    assert broker.server.core.counters.connections_over_limit == 20
    broker.call(broker.server.stop())
    text = "refused by limits.connections, 1 connections are open"
    told = [line for line in caplog.messages if text in line]
    assert len(told) == 2
    assert told[0].startswith("127.0.0.1:")
    assert told[1].startswith("19 connections, the last from 127.0.0.1:")


def test_clients_that_say_nothing_are_closed_in_time_and_told_in_few_lines(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    broker = start(limits=Limits(connect_timeout_seconds=1))
    with raw(broker) as client, raw(broker) as another, raw(broker) as third:
        began = time.monotonic()
        assert client.next() is None
        assert 0.9 < time.monotonic() - began < 5
        peer = client.socket.getsockname()
        assert (another.next(), third.next()) == (None, None)
    broker.call(broker.server.stop())
    told = [line for line in caplog.messages if "no CONNECT within 1 s" in line]
    assert told[0] == f"127.0.0.1:{peer[1]}: closed, no CONNECT within 1 s"
    assert len(told) == 2
    assert told[1].startswith("2 connections, the last from 127.0.0.1:")


@pytest.mark.parametrize("tls", [False, True])
def test_a_stalled_subscriber_costs_a_bounded_amount_and_holds_up_nobody(
    start: Callable[..., Running], tmp_path: Path, tls: bool
) -> None:
    limits = Limits(
        write_buffer_bytes=256 * KIB,
        service_queue=QueueLimits(messages=10_000, bytes=4 * MIB),
        device_bytes_per_second=None,
    )
    listener, context = tls_listener(tmp_path) if tls else (Listener(port=0), None)
    broker = start(limits=limits, listeners=(listener,))
    with (
        raw(broker, context) as stalled,
        raw(broker, context) as device,
        raw(broker, context) as healthy,
    ):
        pattern = TopicFilter("devices/+/telemetry/#", max_qos=QoS.AT_LEAST_ONCE)
        for client, user in ((stalled, "all"), (healthy, "tele")):
            client.login(broker, user, f"{user}-1")
            client.send(SubscribePacket(1, [pattern]))
            assert isinstance(client.next(), SubAckPacket)
        device.login(broker, "d1", "d1")
        payload = b"x" * 50_000
        for number in range(1, 301):
            device.send(
                PublishPacket(
                    "devices/d1/telemetry/x", payload, qos=QoS.AT_LEAST_ONCE, packet_id=number
                )
            )
            answer = device.next()
            assert isinstance(answer, PubAckPacket)
            got = healthy.next()
            assert isinstance(got, PublishPacket)
            assert got.packet_id is not None
            healthy.send(PubAckPacket(got.packet_id))
        session = broker.server.core.sessions.get("all-1")
        assert session is not None
        assert session.held_bytes <= 4 * MIB + len(payload)
        assert session.connection is not None
        assert session.connection.buffered_bytes < 512 * KIB
        assert broker.server.core.counters.dropped_queue_full > 50
        # It reads again, and what was kept for it comes.
        for number in range(60):
            message = stalled.next()
            assert isinstance(message, PublishPacket), number
            assert message.packet_id is not None
            stalled.send(PubAckPacket(message.packet_id))


def test_a_client_that_never_reads_its_answers_is_not_read_from_for_ever(
    start: Callable[..., Running],
) -> None:
    broker = start(limits=Limits(write_buffer_bytes=16 * KIB))
    with raw(broker) as client:
        client.login(broker, "d1", "d1")
        pings = PingReqPacket().write() * 100_000
        client.send_until_nothing_is_taken(pings, at_most=200 * MIB)
        (connection,) = broker.server.core.connections
        assert connection.buffered_bytes < 2 * MIB


def test_tls_clients_are_served(start: Callable[..., Running], tmp_path: Path) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    assert broker.server.urls[0].startswith("mqtts://127.0.0.1:")
    with raw(broker, context) as client:
        client.login(broker, "d1", "d1")
        client.send(PingReqPacket())
        assert isinstance(client.next(), PingRespPacket)
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.raises((ssl.SSLError, ConnectionError)), raw(broker, context):
        pass


def test_a_tls_client_may_be_lost_in_the_very_turn_that_closes_it(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    listener, context = tls_listener(tmp_path)
    broker = start(listeners=(listener,))
    with raw(broker, context) as client:
        client.login(broker, "d1", "d1")
        (connection,) = broker.server.core.connections
        protocol = connection.transport
        assert isinstance(protocol, ClientProtocol)

        async def lost_and_closed() -> None:
            protocol.abort()
            protocol.close()

        broker.call(lost_and_closed())
        eventually(lambda: not broker.server.core.connections)


def test_a_login_is_verified_beside_the_event_loop(
    broker: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw(broker) as waiting, raw(broker) as working:
        working.login(broker, "d1", "d1")
        authenticator = broker.server._shell._logins.authenticator
        verify = authenticator.verify

        def slowly(attempt: Attempt, now: float, *told: Tell) -> Login | None:
            time.sleep(0.5)
            return verify(attempt, now, *told)

        monkeypatch.setattr(authenticator, "verify", slowly)
        waiting.send(ConnectPacket("d2", username="d2", password=broker.passwords["d2"].encode()))
        began = time.monotonic()
        for _ in range(10):
            working.send(PingReqPacket())
            assert isinstance(working.next(), PingRespPacket)
        assert time.monotonic() - began < 0.4
        assert isinstance(waiting.next(), ConnAckPacket)


def test_a_second_login_does_not_cost_a_verification(
    broker: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw(broker) as first:
        first.login(broker, "d1", "d1")

    def fail(attempt: Attempt, now: float) -> object:
        raise AssertionError("verified again")

    monkeypatch.setattr(broker.server._shell._logins.authenticator, "verify", fail)
    with raw(broker) as second:
        second.login(broker, "d1", "d1")


@conforms(v5="4.2-1", v311="4.2.0-1")
def test_bytes_of_a_packet_may_come_one_by_one(broker: Running) -> None:
    with raw(broker) as client:
        password = broker.passwords["d1"].encode()
        for byte in ConnectPacket("d1", username="d1", password=password).write():
            client.socket.sendall(bytes((byte,)))
        assert isinstance(client.next(), ConnAckPacket)


def test_a_packet_of_eleven_megabytes_passes(broker: Running) -> None:
    with raw(broker) as subscriber, raw(broker) as device:
        subscriber.login(broker, "tele", "tele-1")
        pattern = TopicFilter("devices/+/telemetry/#", max_qos=QoS.AT_LEAST_ONCE)
        subscriber.send(SubscribePacket(1, [pattern]))
        assert isinstance(subscriber.next(), SubAckPacket)
        device.login(broker, "d1", "d1")
        payload = b"x" * 11_000_000
        topic = "devices/d1/telemetry/x"
        device.send(PublishPacket(topic, payload, qos=QoS.AT_LEAST_ONCE, packet_id=1))
        assert isinstance(device.next(), PubAckPacket)
        message = subscriber.next()
        assert isinstance(message, PublishPacket)
        assert message.payload == payload


def test_connections_that_are_gone_leave_nothing_behind(broker: Running) -> None:
    for _ in range(20):
        with raw(broker) as client:
            client.login(broker, "d1", "d1")
    eventually(lambda: not broker.server.core.connections)
    eventually(lambda: len(broker.server.core.sessions) == 0)
