"""Clients that others wrote, over real sockets: what each can, on every transport that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from broker.config import Listener, ListenerType
from tests.broker.interop.asyncio_drivers import Aiomqtt, Amqtt
from tests.broker.interop.driver import Driver, Endpoint, Last
from tests.broker.interop.mqttjs_driver import MqttJs
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.test_clients import V5, Paho
from tests.harness.certificates import Authority

TCP, TLS, WS, WSS = ListenerType.TCP, ListenerType.TLS, ListenerType.WS, ListenerType.WSS

CASES = [
    pytest.param(kind, version, transport, id=f"{kind.__name__}-{version}-{transport.value}")
    for kind, versions, transports in (
        (Aiomqtt, (4, 5), (TCP, TLS, WS, WSS)),
        (Amqtt, (4,), (TCP, TLS, WS)),
        (MqttJs, (4, 5), (TCP, TLS, WS, WSS)),
    )
    for version in versions
    for transport in transports
]
STATE, TELEMETRY, COMMAND = "devices/d1/state", "devices/d1/telemetry/x", "devices/d1/commands/go"


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(("kind", "version", "transport"), CASES)
def test_a_client_of_others_is_served(
    start: Callable[..., Running],
    opened: ExitStack,
    tmp_path: Path,
    kind: Callable[[], Driver],
    version: int,
    transport: ListenerType,
) -> None:
    authority = Authority(tmp_path, "tests", identified=True)
    signed = authority.sign("127.0.0.1")
    tls: dict[str, Any] = {}
    if transport.has_tls:
        tls = {"certificate_file": signed.certificate, "key_file": signed.key}
    broker = start(
        listeners=(Listener(port=0), Listener(type=transport, port=0, **tls)),
    )
    port = int(broker.server.urls[1].split(":")[2].split("/")[0])
    endpoint = Endpoint(
        transport=transport,
        port=port,
        version=version,
        username="d1",
        password=broker.passwords["d1"],
        client_id="d1",
        ca=Path(authority.file) if transport.has_tls else None,
    )

    def paho(user: str, client_id: str, *patterns: str) -> Paho:
        client = Paho(broker, user, client_id, V5).connect()
        opened.callback(client.close)
        for pattern in patterns:
            client.subscribe(pattern, 2)
        return client

    watcher = paho("tele", "tele-1", "devices/+/telemetry/#", "devices/+/state")
    sender = paho("cmd", "cmd-1")
    driver = opened.enter_context(closing(kind()))
    will = Last(topic=STATE, payload=b"gone", qos=1)
    assert driver.connect(endpoint, clean=False, will=will) in (False, None)

    # What it publishes arrives, at every QoS.
    for qos in (0, 1, 2):
        driver.publish(TELEMETRY, b"qos %d" % qos, qos)
    eventually(lambda: len(watcher.messages) == 3)
    assert [(m.payload, m.qos) for m in watcher.messages] == [
        (b"qos 0", 0),
        (b"qos 1", 1),
        (b"qos 2", 2),
    ]

    # And what it subscribes to.
    driver.subscribe("devices/d1/commands/#", 2)
    for qos in (0, 1, 2):
        sender.publish(COMMAND, b"qos %d" % qos, qos)
    eventually(lambda: len(driver.received()) == 3)
    assert [(m.topic, m.payload, m.qos) for m in driver.received()] == [
        (COMMAND, b"qos 0", 0),
        (COMMAND, b"qos 1", 1),
        (COMMAND, b"qos 2", 2),
    ]

    # A retained message of its own is there for who comes later.
    driver.publish(STATE, b"on", 1, retain=True)
    late = paho("tele", "tele-2", STATE)
    eventually(lambda: late.messages)
    assert (late.messages[0].payload, late.messages[0].retain) == (b"on", True)

    if version == 5:
        properties: dict[str, Any] = {"user_properties": [("k", "v")], "content_type": "text/x"}
        driver.publish(TELEMETRY, b"with properties", 1, **properties)
        eventually(lambda: watcher.messages[-1].payload == b"with properties")
        got: Any = watcher.messages[-1].properties
        assert (got.UserProperty, got.ContentType) == ([("k", "v")], "text/x")

    # Its session goes on where it was.
    driver.disconnect()
    sender.publish(COMMAND, b"meanwhile", 1)
    assert driver.connect(endpoint, clean=False, will=will) in (True, None)
    eventually(lambda: len(driver.received()) == 4)
    assert driver.received()[3].payload == b"meanwhile"

    # And its will is published when it is gone.
    assert b"gone" not in [message.payload for message in watcher.messages]
    driver.vanish()
    eventually(lambda: watcher.messages[-1].payload == b"gone")
