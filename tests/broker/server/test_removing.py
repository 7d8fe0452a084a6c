"""A removed device leaves nothing: its session and its will end with it, connected or away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import DisconnectPacket, PublishPacket, QoS, Will
from sqlalchemy.engine import URL

from broker.auth.identity import DirectoryChanges
from broker.config import StoreConfig
from broker.registry.entries import Content
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.registry_changes import (
    SECOND,
    changed,
    connected,
    goodbye,
    published,
    put_devices,
    subscribed,
)

LASTING: dict[str, Any] = {"session_expiry_interval": 600, "clean_start": False}


@pytest.fixture
def registry(open_registry: Callable[[], SqlRegistry]) -> SqlRegistry:
    registry = open_registry()
    registry.put_role("watch", Role(subscribe=Patterns(allow=("#",))))
    put_devices(registry, d1="device", d2="device", watcher="watch")
    return registry


@pytest.fixture
def start_one(
    start: Callable[..., Running], registry: SqlRegistry, url: URL, tmp_path: Path
) -> Callable[[], Running]:
    store = StoreConfig(file=tmp_path / "store.db")
    return lambda: start(registry_file=None, registry_url=url, store=store)


def will(name: str, **options: Any) -> Will:
    return Will(f"devices/{name}/state", payload=name.encode(), **options)


def sessions(broker: Running) -> set[str]:
    return {session.client_id for session in list(broker.server.core.sessions)}


def leave(broker: Running, name: str, **options: Any) -> None:
    """Has a session with a subscription, and is away."""
    with connected(broker, name=name, **LASTING, **options) as client:
        assert subscribed(client, f"devices/{name}/commands/#") < 0x80
    session = broker.server.core.sessions.get(name)
    assert session is not None
    eventually(lambda: session.connection is None)


def test_a_removed_device_that_is_connected_leaves_neither_session_nor_will_and_a_blocked_one_both(
    start_one: Callable[[], Running], registry: SqlRegistry
) -> None:
    broker = start_one()
    with (
        connected(broker, name="watcher") as watcher,
        connected(broker, name="d1", will=will("d1"), **LASTING) as removed,
        connected(broker, name="d2", will=will("d2"), **LASTING) as blocked,
    ):
        assert subscribed(watcher, "#") < 0x80
        registry.edit("d1", lambda entry: None)
        assert goodbye(removed).reason_str == "it was removed from the registry"
        eventually(lambda: "d1" not in sessions(broker), seconds=SECOND)
        changed(registry, "d2", blocked=True)
        assert goodbye(blocked).reason_str == "it is blocked"
        packet = watcher.next()
        assert isinstance(packet, PublishPacket)
        assert packet.payload == b"d2", "nobody speaks for d1"
    assert "d2" in sessions(broker)


def test_the_session_of_a_removed_device_that_is_away_ends_within_a_second(
    start_one: Callable[[], Running], registry: SqlRegistry
) -> None:
    broker = start_one()
    with connected(broker, name="watcher") as watcher:
        assert subscribed(watcher, "#") < 0x80
        for name in ("d1", "d2"):
            leave(broker, name, will=will(name, will_delay_interval=2))
        registry.edit("d1", lambda entry: None)
        eventually(lambda: "d1" not in sessions(broker), seconds=SECOND)
        assert "d2" in sessions(broker)
        packet = watcher.next()
        assert isinstance(packet, PublishPacket)
        assert packet.payload == b"d2"


@pytest.mark.parametrize("is_here", [True, False])
def test_who_is_added_under_the_name_of_one_just_removed_gets_nothing_of_it(
    start_one: Callable[[], Running], registry: SqlRegistry, is_here: bool
) -> None:
    broker = start_one()
    with connected(broker, name="watcher") as watcher, ExitStack() as stack:
        assert subscribed(watcher, "#") < 0x80
        last = will("d1", will_delay_interval=1)
        if is_here:
            former = stack.enter_context(connected(broker, name="d1", will=last, **LASTING))
        else:
            leave(broker, "d1", will=last)
        session = broker.server.core.sessions.get("d1")
        assert session is not None
        registry.edit("d1", lambda entry: None)
        put_devices(registry, d1="device")
        eventually(lambda: broker.server.core.sessions.get("d1") is None, seconds=SECOND)
        if is_here:
            assert goodbye(former).reason_str == "it was removed from the registry"
        with connected(broker, name="d1", **LASTING):
            watcher.socket.settimeout(1.5)
            with pytest.raises(TimeoutError):
                watcher.next()
            assert broker.server.core.sessions.get("d1") is not session


def test_who_comes_by_a_name_before_its_removal_was_seen_must_come_once_more(
    start_one: Callable[[], Running], registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_one()
    leave(broker, "d1")
    session = broker.server.core.sessions.get("d1")
    look, seen = SqlRegistry.changes, threading.Event()

    def late(self: SqlRegistry, since: int) -> DirectoryChanges:
        assert seen.wait(10)
        return look(self, since)

    monkeypatch.setattr(SqlRegistry, "changes", late)
    registry.edit("d1", lambda entry: None)
    put_devices(registry, d1="device", d3="device")
    with connected(broker, name="d3") as other, connected(broker, name="d1", **LASTING) as early:
        assert broker.server.core.sessions.get("d1") is session, "there was none to tell of it"
        seen.set()
        assert goodbye(early).reason_str == "it was removed from the registry"
        assert published(other, "devices/d3/state") == 0x10
    assert "d1" not in sessions(broker)
    with connected(broker, name="d1", **LASTING):
        assert broker.server.core.sessions.get("d1") is not session


def test_who_is_removed_while_the_broker_is_down_is_gone_at_its_next_start(
    start_one: Callable[[], Running], registry: SqlRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    broker = start_one()
    for name in ("d1", "d2"):
        leave(broker, name)
    broker.call(broker.server.stop())
    registry.edit("d1", lambda entry: None)
    again = start_one()
    assert sessions(again) == {"d2"}
    eventually(lambda: "its session ended: it was removed from the registry" in caplog.text)


def test_a_registry_of_nobody_ends_no_session(
    start_one: Callable[[], Running], registry: SqlRegistry
) -> None:
    """It is rather the wrong one: a mistyped name makes a new file."""
    broker = start_one()
    for name in ("d1", "d2"):
        leave(broker, name)
    content = registry.content()
    registry.take_in(Content(), instead=True)
    with pytest.raises(AssertionError, match="never came true"):
        eventually(lambda: sessions(broker) != {"d1", "d2"}, seconds=1.2)
    broker.call(broker.server.stop())
    again = start_one()
    assert sessions(again) == {"d1", "d2"}
    registry.take_in(content)


def test_a_device_that_comes_by_the_name_of_a_removed_one_finds_nothing_of_it(
    start_one: Callable[[], Running], registry: SqlRegistry
) -> None:
    broker = start_one()
    leave(broker, "d1")
    entry = registry.entries()["d1"]
    registry.edit("d1", lambda _: None)
    eventually(lambda: "d1" not in sessions(broker), seconds=SECOND)
    registry.edit("d1", lambda _: entry)
    with connected(broker, name="d1", **LASTING) as client:
        session = broker.server.core.sessions.get("d1")
        assert session is not None
        assert not session.subscriptions
        client.send(DisconnectPacket())


@pytest.mark.parametrize("is_running", [True, False])
def test_a_will_that_waits_is_published_only_where_it_is_still_allowed(
    start_one: Callable[[], Running], registry: SqlRegistry, is_running: bool
) -> None:
    registry.put_role("mute", Role())
    broker = start_one()
    for name in ("d1", "d2"):
        leave(broker, name, will=will(name, will_delay_interval=3, qos=QoS.AT_LEAST_ONCE))
    with connected(broker, name="watcher", **LASTING) as watcher:
        assert subscribed(watcher, "#") < 0x80
    if not is_running:
        broker.call(broker.server.stop())
    changed(registry, "d1", role="mute")
    changed(registry, "d2", blocked=True)
    again = broker if is_running else start_one()
    with connected(again, name="watcher", **LASTING) as watcher:
        packet = watcher.next()
        assert isinstance(packet, PublishPacket)
        assert packet.payload == b"d2", "it is blocked, and may leave one all the same"
