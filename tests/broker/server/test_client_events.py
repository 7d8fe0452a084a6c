"""Connects and disconnects are messages on a topic of the broker's, and rows of its registry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from mqtt5 import ConnAckPacket, ConnectPacket, DisconnectPacket, PublishPacket
from sqlalchemy.engine import URL

from broker.config import EventsConfig
from broker.registry.entries import Entry
from broker.registry.events import EventKind
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from schemas.layout import DEFAULT
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, raw
from tests.broker.server.registry_changes import connected, password, put_devices, subscribed


@pytest.fixture
def registry(open_registry: Callable[[], SqlRegistry]) -> SqlRegistry:
    registry = open_registry()
    registry.put_role("auditor", Role(subscribe=Patterns(allow=("$SYS/events/#",))))
    put_devices(registry, d1="device", d2="auditor", d3="telemetry-pipeline")
    return registry


@pytest.fixture
def start_one(
    start: Callable[..., Running], registry: SqlRegistry, url: URL
) -> Callable[..., Running]:
    return lambda **more: start(registry_file=None, registry_url=url, **more)


def message(client: Raw) -> PublishPacket:
    packet = client.next()
    assert isinstance(packet, PublishPacket)
    return packet


def told(client: Raw) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(message(client).payload)
    return content


def test_who_may_subscribe_hears_of_connects_and_disconnects(
    start_one: Callable[..., Running],
) -> None:
    broker = start_one()
    with connected(broker, name="d2") as auditor:
        assert subscribed(auditor, "$SYS/events/#") < 0x80
        with connected(broker) as client:
            packet = message(auditor)
            assert packet.topic == "$SYS/events/d1"
            assert packet.content_type == "application/json"
            content = json.loads(packet.payload)
            assert content.pop("at").endswith("Z")
            peer = f"127.0.0.1:{client.socket.getsockname()[1]}"
            assert content == {
                "event": "connected",
                "name": "d1",
                "clientId": "d1",
                "reason": "",
                "peer": peer,
                "protocol": "5.0",
            }
            client.send(DisconnectPacket())
            content = told(auditor)
            assert (content["event"], content["reason"]) == (
                "disconnected",
                "normal_disconnection",
            )
        with connected(broker) as client:
            assert told(auditor)["event"] == "connected"
            client.socket.close()
            assert told(auditor)["reason"] == "closed by the client"


def test_who_may_not_is_refused_and_a_wildcard_at_the_front_hears_nothing(
    start_one: Callable[..., Running], registry: SqlRegistry
) -> None:
    broker = start_one()
    with connected(broker) as client:
        assert subscribed(client, "$SYS/events/#") == 0x87
    registry.edit(
        "d2", lambda _: Entry(name="d2", role="observer", credentials=(password("d2/1"),))
    )
    with connected(broker, name="d2") as observer:
        assert subscribed(observer, "#") < 0x80
        observer.socket.settimeout(0.5)
        with connected(broker), pytest.raises(TimeoutError):
            observer.next()


def test_a_session_gathers_events_while_its_client_is_away(
    start_one: Callable[..., Running],
) -> None:
    broker = start_one()
    lasting: dict[str, Any] = {"session_expiry_interval": 60, "clean_start": False}
    with connected(broker, name="d2", **lasting) as auditor:
        assert subscribed(auditor, "$SYS/events/d1") < 0x80
    with connected(broker):
        pass
    eventually(lambda: broker.server.core.sessions.get("d1") is None)
    with raw(broker) as auditor:
        auditor.send(ConnectPacket("d2", username="d2", password=b"right", **lasting))
        assert isinstance(auditor.next(), ConnAckPacket)
        assert [told(auditor)["event"] for _ in range(2)] == ["connected", "disconnected"]


def test_they_are_rows_of_the_registry_with_when_it_was_seen_last(
    start_one: Callable[..., Running],
    registry: SqlRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.server.client_events.SEEN_SECONDS", 0.3)
    broker = start_one()
    began = time.time()
    with connected(broker) as client:
        eventually(lambda: registry.presence("d1").connected_at, seconds=2)
        connected_at = registry.presence("d1").connected_at
        assert connected_at == pytest.approx(began, abs=2)
        client.send(DisconnectPacket())
    eventually(lambda: len(registry.events()) == 2, seconds=2)
    kinds = [(event.kind, event.name, event.reason) for event in registry.events()]
    assert kinds == [
        (EventKind.CONNECTED, "d1", ""),
        (EventKind.DISCONNECTED, "d1", "normal_disconnection"),
    ]
    with connected(broker) as client:
        time.sleep(0.6)
        assert subscribed(client, "devices/d1/config") < 0x80
        spoke = time.time()
        eventually(lambda: (registry.presence("d1").seen_at or 0) > spoke - 0.1, seconds=2)


def test_a_stop_records_who_was_connected_till_then(
    start_one: Callable[..., Running], registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client does not close, and is given no time to.
    monkeypatch.setattr("broker.server.client.LINGER_SECONDS", 0.0)
    broker = start_one()
    with connected(broker):
        broker.call(broker.server.stop())
    last = registry.events()[-1]
    assert (last.kind, last.reason) == (EventKind.DISCONNECTED, "server shutting down")


def test_their_topic_can_be_one_that_the_telemetry_pipeline_takes(
    start_one: Callable[..., Running],
) -> None:
    topic = "devices/%name/telemetry/connection"
    broker = start_one(events=EventsConfig(topic=topic))
    with connected(broker, name="d3") as pipeline:
        assert subscribed(pipeline, *DEFAULT.telemetry_filters()) < 0x80
        with connected(broker):
            packet = message(pipeline)
            parsed = DEFAULT.telemetry_from_topic(packet.topic)
            assert (parsed.device_id, parsed.stream) == ("d1", "connection")


def test_without_a_topic_nothing_is_published(
    start_one: Callable[..., Running], registry: SqlRegistry
) -> None:
    broker = start_one(events=EventsConfig(topic=None))
    with connected(broker, name="d2") as auditor:
        assert subscribed(auditor, "$SYS/events/#") < 0x80
        auditor.socket.settimeout(0.5)
        with connected(broker), pytest.raises(TimeoutError):
            auditor.next()
    eventually(lambda: registry.events(name="d1"), seconds=2)
