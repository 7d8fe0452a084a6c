"""Operators ask a running broker by its socket; nobody else may."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.config import StoreConfig
from broker.errors import AdministrationError, ListenError
from broker.server import administration
from broker.server.asking import ask, is_answered
from broker.store import examine
from tests.broker.server.conftest import Running, eventually


@pytest.fixture
def running(start: Callable[..., Running], tmp_path: Path) -> Running:
    return start(
        administration_socket=tmp_path / "broker.sock",
        store=StoreConfig(file=tmp_path / "broker.db"),
    )


def asked(folder: Path, request: str, **arguments: Any) -> list[dict[str, Any]]:
    return list(ask(folder / "broker.sock", request, **arguments))


def reader(running: Running, name: str = "all-1") -> paho.Client:
    """A connected observer with a session that lasts."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        clean_session=False,
        protocol=paho.MQTTv311,
    )
    client.username_pw_set("all", running.passwords["all"])
    client.connect("127.0.0.1", running.port)
    client.loop_start()
    eventually(client.is_connected)
    return client


def gone(client: paho.Client) -> None:
    client.disconnect()
    client.loop_stop()


def test_the_socket_is_its_owner_s_alone_and_goes_with_the_broker(
    running: Running, tmp_path: Path
) -> None:
    path = tmp_path / "broker.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_answered(path)
    running.call(running.server.stop())
    assert not path.exists()
    with pytest.raises(AdministrationError, match="no broker answers at"):
        asked(tmp_path, "status")


def test_a_socket_that_was_deleted_is_made_again(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    before = path.stat().st_ino
    running.call(running.server._administration.renew())
    assert path.stat().st_ino == before
    path.unlink()
    running.call(running.server._administration.renew())
    assert is_answered(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_status_has_what_the_server_counts(running: Running, tmp_path: Path) -> None:
    client = reader(running)
    (status,) = asked(tmp_path, "status")
    assert (status["connected"], status["sessions"]) == (1, 1)
    assert status["listeners"] == running.server.urls
    assert status["counters"]["connections_accepted"] == 1
    assert status["store"] == str(tmp_path / "broker.db")
    gone(client)


def test_clients_are_told_with_what_waits_for_them(running: Running, tmp_path: Path) -> None:
    client = reader(running)
    client.subscribe("devices/#", qos=1)
    eventually(lambda: asked(tmp_path, "clients")[0]["subscriptions"])
    (here, _) = asked(tmp_path, "clients", match="all-*")
    assert here["peer"].startswith("127.0.0.1:")
    assert (here["owner"], here["protocol"], here["oldest_seconds"]) == ("all", "3.1.1", None)
    gone(client)
    eventually(lambda: asked(tmp_path, "clients")[0]["peer"] is None)
    writer = paho.Client(CallbackAPIVersion.VERSION2, client_id="d1")
    writer.username_pw_set("d1", running.passwords["d1"])
    writer.connect("127.0.0.1", running.port)
    writer.loop_start()
    writer.publish("devices/d1/state", b"on", qos=1).wait_for_publish(5)
    time.sleep(0.05)
    away, done = asked(tmp_path, "clients", match="all-?")
    assert (away["queued"], away["unacknowledged"], done) == (1, 0, {})
    assert 0.05 <= away["oldest_seconds"] < 5
    assert away["held_bytes"] > 600
    subscription, told = asked(tmp_path, "client", client_id="all-1")
    assert (subscription["topic_filter"], subscription["qos"]) == ("devices/#", 1)
    assert told["client_id"] == "all-1"
    with pytest.raises(AdministrationError, match="no client 'nobody' has a session"):
        asked(tmp_path, "client", client_id="nobody")
    gone(writer)


def test_a_kicked_client_is_told_so_and_forgotten_only_if_asked(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="all-1", protocol=paho.MQTTv5)
    client.username_pw_set("all", running.passwords["all"])
    reasons: list[int] = []

    def ended(
        client: paho.Client, data: object, flags: object, reason: ReasonCode, properties: object
    ) -> None:
        reasons.append(reason.value)
        client.disconnect()

    client.on_disconnect = ended
    client.connect("127.0.0.1", running.port)
    client.loop_start()
    eventually(client.is_connected)
    assert asked(tmp_path, "kick", client_id="all-1") == [{"was_connected": True}]
    eventually(lambda: reasons)
    assert reasons[0] == 0x98
    eventually(lambda: "by an operator" in caplog.text)
    assert caplog.text.count("by an operator") == 1, "one event is one line"
    client.loop_stop()

    stays = reader(running, "all-2")
    gone(stays)
    eventually(lambda: asked(tmp_path, "clients", match="all-2")[0]["peer"] is None)
    assert asked(tmp_path, "kick", client_id="all-2") == [{"was_connected": False}]
    assert asked(tmp_path, "clients", match="all-2")[0]["client_id"] == "all-2"
    asked(tmp_path, "kick", client_id="all-2", forget=True)
    assert asked(tmp_path, "clients", match="all-2") == [{}]


def test_retained_messages_are_listed_shown_and_deleted(running: Running, tmp_path: Path) -> None:
    device = paho.Client(CallbackAPIVersion.VERSION2, client_id="d1")
    device.username_pw_set("d1", running.passwords["d1"])
    device.connect("127.0.0.1", running.port)
    device.loop_start()
    device.publish("devices/d1/state", b"on", qos=1, retain=True).wait_for_publish(5)
    gone(device)
    row, _ = asked(tmp_path, "retained")
    assert (row["topic"], row["payload_bytes"], row["publisher"]) == ("devices/d1/state", 2, "d1")
    assert asked(tmp_path, "retained", filter="devices/+/config") == [{}]
    (shown,) = asked(tmp_path, "retained-show", topic="devices/d1/state")
    assert shown["payload"] == "b24="
    asked(tmp_path, "retained-delete", topic="devices/d1/state")
    assert asked(tmp_path, "retained") == [{}]
    for request in ("retained-show", "retained-delete"):
        with pytest.raises(AdministrationError, match="no message is retained for"):
            asked(tmp_path, request, topic="devices/d1/state")
    with pytest.raises(AdministrationError, match="is the broker's own"):
        asked(tmp_path, "retained-delete", topic="$SYS/broker/version")
    assert len(asked(tmp_path, "retained", filter="$SYS/#")) > 10
    with pytest.raises(AdministrationError, match="#"):
        asked(tmp_path, "retained", filter="#/a")


def test_a_running_broker_makes_its_own_backup(running: Running, tmp_path: Path) -> None:
    client = reader(running)
    assert asked(tmp_path, "backup", target=str(tmp_path / "monday.db")) == [{}]
    assert examine(tmp_path / "monday.db").sessions == 1
    with pytest.raises(AdministrationError, match="a backup replaces nothing"):
        asked(tmp_path, "backup", target=str(tmp_path / "monday.db"))
    with pytest.raises(AdministrationError, match="must be an absolute path"):
        asked(tmp_path, "backup", target="monday.db")
    gone(client)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nonsense\n", "a request is a JSON object with 'request', one of: status, clients,"),
        (b"[]\n", "a request is a JSON object"),
        (b'{"request": ["a"]}\n', "a request is a JSON object"),
        (b'{"request": "stop"}\n', "a request is a JSON object"),
        (b'{"request": "kick"}\n', "client_id is None; it must be text"),
        (b"x" * 70_000, "a request has at most 65536 bytes"),
    ],
)
def test_what_is_no_request_is_refused(
    running: Running, tmp_path: Path, line: bytes, complaint: str
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "broker.sock"))
        connection.sendall(line)
        with connection.makefile("rb") as lines:
            assert complaint in json.loads(lines.readline())["error"]


def test_a_socket_that_was_left_behind_is_taken_and_one_in_use_is_not(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    path = tmp_path / "broker.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    start(administration_socket=path)
    assert is_answered(path)
    with pytest.raises(ListenError, match="a broker listens there already"):
        start(administration_socket=path)
    (tmp_path / "text").touch()
    with pytest.raises(ListenError, match="a file of this name, which is no socket"):
        start(administration_socket=tmp_path / "text")
    with pytest.raises(ListenError, match="can't be made"):
        start(administration_socket=tmp_path / "nowhere" / "broker.sock")


def test_thousands_of_clients_do_not_hold_up_the_others(running: Running, tmp_path: Path) -> None:
    async def fill() -> None:
        for number in range(20_000):
            running.server.core.sessions._new(f"x{number}", "x", device=True)

    running.call(fill())
    gaps: list[float] = []

    async def watch(ends: threading.Event) -> None:
        last = time.monotonic()
        while not ends.is_set():
            await asyncio.sleep(0)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ends = threading.Event()
    watching = asyncio.run_coroutine_threadsafe(watch(ends), running.loop)
    rows = asked(tmp_path, "clients")
    ends.set()
    watching.result(10)
    assert len(rows) == 20_001
    assert len(gaps) > 20_000 / administration.ROWS_AT_ONCE
    assert sorted(gaps)[-5] < 0.1
