"""$SYS/broker: the figures come on time, to those whose role allows it."""

from __future__ import annotations

import time
from collections.abc import Callable

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.registry import Service
from tests.broker.server import conftest
from tests.broker.server.conftest import SERVICES, Running, eventually


@pytest.fixture
def monitored(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Service(name="mon", role="monitor", client_id_prefix="mon-")
    monkeypatch.setattr(conftest, "SERVICES", (*SERVICES, monitor))


def listening(running: Running, name: str) -> tuple[paho.Client, dict[str, str], list[int]]:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-1")
    client.username_pw_set(name, running.passwords[name])
    told: dict[str, str] = {}
    granted: list[int] = []

    def heard(client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        told[message.topic.removeprefix("$SYS/broker/")] = message.payload.decode()

    client.on_message = heard
    client.on_subscribe = lambda _c, _d, _m, codes, _p: granted.append(codes[0].value)
    client.connect("127.0.0.1", running.port)
    client.loop_start()
    eventually(client.is_connected)
    client.subscribe("$SYS/#")
    eventually(lambda: granted)
    return client, told, granted


def test_a_monitor_gets_the_figures_and_an_observer_does_not(
    start: Callable[..., Running], monitored: None
) -> None:
    running = start(system_topics_seconds=0.1)
    client, told, granted = listening(running, "mon")
    assert granted == [0]
    eventually(lambda: told.get("clients/connected") == "1")
    assert told["version"].startswith("mqttbeam ")
    assert told["uptime"].endswith(" seconds")
    assert int(told["bytes/received"]) > 20
    other, heard, refused = listening(running, "all")
    assert refused == [0x80]
    eventually(lambda: told["clients/connected"] == "2")
    assert heard == {}

    async def stop() -> None:
        running.server._system_topics.tell_every(0)

    running.call(stop())
    time.sleep(0.1)
    received = told["publish/messages/received"]
    other.publish("nothing", b"x").wait_for_publish(5)
    time.sleep(0.3)
    assert told["publish/messages/received"] == received, "told to stop, it stops"
    for each in (client, other):
        each.disconnect()
        each.loop_stop()


def test_an_interval_of_0_turns_them_off(start: Callable[..., Running], monitored: None) -> None:
    running = start(system_topics_seconds=0.0)
    client, told, granted = listening(running, "mon")
    assert granted == [0]
    assert told == {}
    assert running.server.core.retained.get("$SYS/broker/version") is None
    client.disconnect()
    client.loop_stop()
