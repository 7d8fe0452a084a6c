"""paho-mqtt, which most devices and back ends use; other clients are in tests/broker/interop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.broker.server.conftest import Running, eventually

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Paho:
    """A paho client that keeps what happens to it."""

    def __init__(
        self, broker: Running, user: str, client_id: str, protocol: MQTTProtocolVersion
    ) -> None:
        self.broker = broker
        self.messages: list[paho.MQTTMessage] = []
        self.connects: list[tuple[bool, int]] = []
        self.disconnects: list[int] = []
        self.granted: list[int] = []
        self.published: dict[int, int] = {}
        self.protocol = protocol
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=protocol,
            reconnect_on_failure=False,
            clean_session=None if protocol is V5 else False,
        )
        self.client.username_pw_set(user, broker.passwords[user])
        self.client.on_connect = self._connected
        self.client.on_message = lambda client, data, message: self.messages.append(message)
        self.client.on_disconnect = self._disconnected
        self.client.on_subscribe = self._subscribed
        self.client.on_publish = self._published

    def _connected(
        self, c: Any, d: Any, flags: paho.ConnectFlags, code: ReasonCode, p: Any
    ) -> None:
        self.connects.append((flags.session_present, code.value))

    def _disconnected(self, c: Any, d: Any, flags: Any, code: ReasonCode, p: Any) -> None:
        self.disconnects.append(code.value)

    def _subscribed(self, c: Any, d: Any, mid: int, codes: list[ReasonCode], p: Any) -> None:
        self.granted = [code.value for code in codes]

    def _published(self, c: Any, d: Any, mid: int, code: ReasonCode, p: Any) -> None:
        self.published[mid] = code.value

    def connect(self) -> Paho:
        options: dict[str, Any] = {}
        if self.protocol is V5:
            properties: Any = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 600
            options = {"clean_start": False, "properties": properties}
        self.client.connect("127.0.0.1", self.broker.port, keepalive=30, **options)
        self.client.loop_start()
        eventually(lambda: self.connects)
        return self

    def subscribe(self, pattern: str, qos: int = 1) -> None:
        self.granted = []
        if self.protocol is V5:
            self.client.subscribe(pattern, options=SubscribeOptions(qos=qos))
        else:
            self.client.subscribe(pattern, qos)
        eventually(lambda: self.granted)

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, **options: Any) -> int:
        """Publishes and returns the reason code of the answer."""
        mid = self.client.publish(topic, payload, qos, **options).mid
        eventually(lambda: mid in self.published)
        return self.published[mid]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def clients(broker: Running) -> Iterator[Any]:
    opened: list[Paho] = []

    def open_one(user: str, client_id: str, protocol: MQTTProtocolVersion = V5) -> Paho:
        opened.append(Paho(broker, user, client_id, protocol))
        return opened[-1].connect()

    yield open_one
    for client in opened:
        client.close()


@pytest.mark.parametrize("protocol", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_paho_messages_arrive_whole_at_every_qos(
    clients: Any, protocol: MQTTProtocolVersion, qos: int
) -> None:
    subscriber = clients("tele", "tele-1", protocol)
    subscriber.subscribe("devices/+/telemetry/#", 2)
    device = clients("d1", "d1", protocol)
    payloads = [bytes([number]) * size for number, size in enumerate((0, 1, 127, 70_000))]
    for payload in payloads:
        device.publish("devices/d1/telemetry/x", payload, qos)
    eventually(lambda: len(subscriber.messages) == 4)
    assert [message.payload for message in subscriber.messages] == payloads
    assert {message.qos for message in subscriber.messages} == {qos}


@pytest.mark.parametrize("protocol", [V311, V5])
def test_paho_a_lasting_session_gets_what_was_published_meanwhile(
    clients: Any, protocol: MQTTProtocolVersion
) -> None:
    subscriber = clients("tele", "tele-1", protocol)
    subscriber.subscribe("devices/+/telemetry/#")
    subscriber.close()
    device = clients("d1", "d1", protocol)
    for number in range(20):
        device.publish("devices/d1/telemetry/x", b"%d" % number)
    again = clients("tele", "tele-1", protocol)
    assert again.connects == [(True, 0)]
    eventually(lambda: len(again.messages) == 20)
    assert [message.payload for message in again.messages] == [b"%d" % n for n in range(20)]


def test_paho_a_command_says_whether_anyone_gets_it(clients: Any) -> None:
    sender = clients("cmd", "cmd-1")
    assert sender.publish("devices/d1/commands/go") == 0x10
    clients("d1", "d1").subscribe("devices/d1/commands/#")
    assert sender.publish("devices/d1/commands/go") == 0
    assert sender.publish("devices/d1/telemetry/x") == 0x87


@pytest.mark.parametrize("protocol", [V311, V5])
def test_paho_a_filter_that_is_not_allowed_is_refused(
    clients: Any, protocol: MQTTProtocolVersion
) -> None:
    device = clients("d1", "d1", protocol)
    device.subscribe("devices/+/commands/#")
    assert device.granted == [0x87 if protocol is V5 else 0x80]


def test_paho_properties_pass_untouched(clients: Any) -> None:
    subscriber = clients("tele", "tele-1")
    subscriber.subscribe("devices/+/telemetry/#")
    properties: Any = _properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.UserProperty = [("message-id", "m-1"), ("event-time", "2026-01-31T12:00:00Z")]
    clients("d1", "d1").publish("devices/d1/telemetry/x", properties=properties)
    eventually(lambda: subscriber.messages)
    got: Any = subscriber.messages[0].properties
    assert got.ContentType == "application/json"
    assert got.UserProperty == properties.UserProperty


def test_paho_two_connections_with_one_client_id_take_over_from_each_other(clients: Any) -> None:
    first = clients("tele", "tele-1")
    second = clients("tele", "tele-1")
    eventually(lambda: first.disconnects)
    assert first.disconnects == [0x8E]
    assert second.connects == [(True, 0)]


def test_paho_a_wrong_password_is_refused(broker: Running) -> None:
    broker.passwords["nobody"] = broker.passwords["d1"]
    for user in ("d2", "nobody"):
        client = Paho(broker, user, "d2", V5)
        client.client.username_pw_set(user, "wrong")
        client.connect()
        assert client.connects == [(False, 0x86)]
        client.client.loop_stop()


def test_paho_shards_share_a_subscription_exactly_once(clients: Any) -> None:
    shards = [clients("tele", f"tele-{number}") for number in range(3)]
    for shard in shards:
        shard.subscribe("$share/p/devices/+/telemetry/#")
    device = clients("d1", "d1")
    for number in range(90):
        device.publish("devices/d1/telemetry/x", b"%d" % number)
    eventually(lambda: sum(len(shard.messages) for shard in shards) == 90)
    got = [message.payload for shard in shards for message in shard.messages]
    assert sorted(got, key=int) == [b"%d" % number for number in range(90)]
    assert all(shard.messages for shard in shards)


def test_a_will_is_published_when_a_device_vanishes(broker: Running, clients: Any) -> None:
    watcher = clients("tele", "tele-1")
    watcher.subscribe("devices/+/state")
    device = Paho(broker, "d1", "d1", V5)
    device.client.will_set("devices/d1/state", b"gone", qos=1)
    device.connect()
    socket = device.client.socket()
    assert socket is not None
    device.client.loop_stop()
    socket.close()
    eventually(lambda: watcher.messages)
    assert watcher.messages[0].payload == b"gone"


def _properties(packet_type: int) -> Any:
    return Properties(packet_type)  # type: ignore[no-untyped-call] # paho leaves it untyped


def test_fifty_devices_at_once(broker: Running, clients: Any) -> None:
    subscriber = clients("tele", "tele-1")
    subscriber.subscribe("devices/+/telemetry/#")
    devices = [clients(f"d{number}", f"d{number}") for number in range(1, 51)]
    barrier = threading.Barrier(len(devices))

    def publish(device: Paho) -> None:
        barrier.wait(10)
        name = device.client._client_id.decode()
        for number in range(20):
            device.client.publish(f"devices/{name}/telemetry/x", f"{name} {number}", 1)

    threads = [threading.Thread(target=publish, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(subscriber.messages) == 1_000)
    assert len({message.payload for message in subscriber.messages}) == 1_000
