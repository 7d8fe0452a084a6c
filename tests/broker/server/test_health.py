"""Probes and Prometheus: what is answered when, to whom, and how little a request can cost."""

from __future__ import annotations

import asyncio
import http.client
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families

from broker.config import HealthConfig, StoreConfig
from broker.core.counters import Counters
from broker.errors import ListenError, StoreError
from broker.server import Server, health
from broker.server.listeners import open_listener
from broker.server.shell import Shell
from tests.broker.server.conftest import Running, eventually


@pytest.fixture
def running(start: Callable[..., Running], tmp_path: Path) -> Running:
    return start(health=HealthConfig(port=0), store=StoreConfig(file=tmp_path / "broker.db"))


def address(running: Running) -> tuple[str, int]:
    parts = urlsplit(running.server.health_url)
    assert isinstance(parts.hostname, str)
    assert parts.port is not None
    return parts.hostname, parts.port


def got(running: Running, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(*address(running), timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def figures(running: Running) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample, by its name and the values of its labels."""
    status, text = got(running, "/metrics")
    assert status == 200
    return {
        (sample.name.removeprefix("mqttbeam_broker_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_running_broker_is_healthy_and_ready(running: Running) -> None:
    assert got(running, "/healthz") == (200, "ready\n")
    assert got(running, "/readyz?verbose=1") == (200, "ready\n")
    assert got(running, "/readyz", "HEAD") == (200, "")
    assert got(running, "/readyz", "POST")[0] == 405
    assert got(running, "/")[0] == 404


def test_it_is_not_ready_before_its_listeners_are_open_nor_while_it_stops(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[tuple[str, health.Phase]] = []
    say_goodbye = Shell.stop

    told: list[health.Health] = []
    open_health = health.Health.open

    async def remembered(self: health.Health, host: str, port: int) -> str:
        told.append(self)
        return await open_health(self, host, port)

    async def opening(*arguments: Any, **options: Any) -> Any:
        phases.append(("opens", told[0].phase))
        return await open_listener(*arguments, **options)

    async def stopping(shell: Shell, **options: Any) -> None:
        phases.append(("stops", told[0].phase))
        answered.append(await asyncio.to_thread(got, running, "/readyz"))
        await say_goodbye(shell, **options)

    answered: list[tuple[int, str]] = []
    monkeypatch.setattr(sys.modules[Server.__module__], "open_listener", opening)
    monkeypatch.setattr(health.Health, "open", remembered)
    monkeypatch.setattr(Shell, "stop", stopping)
    running = start(health=HealthConfig(port=0))
    running.call(running.server.stop())
    assert phases == [("opens", health.Phase.STARTING), ("stops", health.Phase.STOPPING)]
    assert answered == [(503, "stopping\n")]
    with pytest.raises(ConnectionRefusedError):
        got(running, "/healthz")


def test_what_passes_is_counted(running: Running) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="all-1", manual_ack=True)
    client.username_pw_set("all", running.passwords["all"])
    client.connect("127.0.0.1", running.port)
    client.loop_start()
    client.subscribe("devices/#", qos=1)
    device = paho.Client(CallbackAPIVersion.VERSION2, client_id="d1")
    device.username_pw_set("d1", running.passwords["d1"])
    device.connect("127.0.0.1", running.port)
    device.loop_start()
    eventually(lambda: figures(running)["subscriptions", ()] == 1)
    before = figures(running)
    device.publish("devices/d1/state", b"x" * 5_000, qos=1, retain=True).wait_for_publish(5)
    eventually(lambda: figures(running)["messages_sent_total", ()] == 1)
    after = figures(running)
    assert after["messages_received_total", ()] == 1
    assert (after["connected_clients", ()], after["retained_messages", ()]) == (2, 1)
    assert (after["queued_messages", ()], after["unacknowledged_messages", ()]) == (0, 1)
    assert after["queue_bytes", ()] > 5_000
    listener = running.server._shell.traffic[0].listener
    assert (after["connections", (listener,)], after["connections_opened_total", (listener,)]) == (
        2,
        2,
    )
    for name in ("received_bytes_total", "sent_bytes_total"):
        assert after[name, (listener,)] - before[name, (listener,)] > 5_000
    assert after["store_commit_seconds_count", ()] > before["store_commit_seconds_count", ()]
    eventually(lambda: figures(running)["event_loop_lag_seconds_count", ()] > 0)
    assert after["messages_dropped_total", ("queue_full",)] == 0
    process = {"process_open_fds", "process_max_fds", "process_resident_memory_bytes"}
    assert process <= {name for name, _ in after}
    for each in (client, device):
        each.disconnect()
        each.loop_stop()
    eventually(lambda: figures(running)["connections", (listener,)] == 0)


def test_a_registry_that_can_not_be_read_is_told_until_it_can(
    running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "registry0.yaml"
    right = file.read_text()
    assert figures(running)["registry_readable", ()] == 1
    file.write_text("version: 1\ndevices: nobody\n")
    eventually(lambda: figures(running)["registry_readable", ()] == 0)
    file.write_text(right)
    eventually(lambda: figures(running)["registry_readable", ()] == 1)


def test_every_counter_of_the_core_is_told_and_explained(running: Running) -> None:
    _, text = got(running, "/metrics")
    for item in fields(Counters):
        assert item.metadata["help"].endswith(".")
        if not item.name.startswith("dropped_"):
            assert f"# HELP mqttbeam_broker_{item.name}_total {item.metadata['help']}\n" in text
            assert f"# TYPE mqttbeam_broker_{item.name}_total counter\n" in text


def test_a_store_that_fails_is_no_health(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        running.server._shell.fail(StoreError("gone"))

    running.call(fail())
    eventually(lambda: got(running, "/healthz")[0] == 503)
    assert got(running, "/readyz") == (503, "failed: the store can't be written\n")
    with pytest.raises(StoreError):
        running.server.failed.result()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_is_refused(
    running: Running, request_bytes: bytes, status: bytes
) -> None:
    with socket.create_connection(address(running), timeout=10) as client:
        client.sendall(request_bytes)
        answer = client.recv(100)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert got(running, "/healthz")[0] == 200


def test_those_who_say_nothing_do_not_stay(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 1.0)
    with socket.create_connection(address(running), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_those_who_say_nothing_give_way_to_who_asks_and_are_told_in_one_line(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(address(running), timeout=10))
            for _ in range(health.CONNECTIONS)
        ]
        conversations = running.server._health._conversations
        eventually(lambda: len(conversations) == health.CONNECTIONS)
        for _ in range(3):
            assert got(running, "/healthz") == (200, "ready\n")
        # The first made room for the first probe; then there was room.
        assert silent[0].recv(1) == b""
        more = [
            stack.enter_context(socket.create_connection(address(running), timeout=10))
            for _ in range(5)
        ]
        assert silent[4].recv(1) == b"", "the oldest ones go"
        for each in (silent[5], more[-1]):
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert each.recv(100).startswith(b"HTTP/1.1 200"), "the others stay"
    told = [line for line in caplog.messages if line.startswith("health: 1 connection ")]
    assert len(told) == 1
    running.call(running.server._health.close())
    assert any(line.startswith("health: 4 connections that") for line in caplog.messages)
    assert [each.message for each in caplog.records if each.name == "asyncio"] == []


def test_an_address_that_is_taken_ends_the_start(start: Callable[..., Running]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ListenError, match=r"health: cannot listen on 127\.0\.0\.1"),
    ):
        start(health=HealthConfig(port=taken.getsockname()[1]))
