"""Sections 3.1 and 3.14: how connections end, and the wills that follow."""

from __future__ import annotations

import pytest
from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
    QoS,
    Will,
)

from mqtt.codec import ProtocolVersion
from tests.broker.conformance.raw import both
from tests.broker.core.harness import V5, House
from tests.harness.conformance import conforms

WILL = Will("w", payload=b"gone")


def code(version: ProtocolVersion, v311: int, v5: int) -> int:
    """The reason code that stands for a return code; the codec of 3.1.1 translates."""
    return v5 if version is V5 else v311


@conforms(v5="3.1.4-3 3.1.4-4 3.14.2-1 3.14.2-2 3.14.4-1 3.14.4-2", v311="3.1.4-2 3.1.4-3")
@both
@pytest.mark.parametrize("clean", [False, True])
def test_a_second_connection_ends_the_first(version: ProtocolVersion, clean: bool) -> None:
    house = House()
    first = house.resume("c1", version)
    first.subscribe("a")
    first.inbox.clear()
    second = house.resume("c1", version, clean_start=clean)
    assert second.one(ConnAckPacket).session_present is not clean
    assert first.closed is not None
    if version is V5:
        goodbye = first.one(DisconnectPacket)
        assert int(goodbye.reason_code) == 0x8E
        assert goodbye.session_expiry_interval is None
    house.connect("c2").publish("a", qos=1)
    assert first.inbox == []
    assert second.payloads() == ([] if clean else [b"x"])


@conforms(v5="3.1.2-22 3.2.2-22", v311="3.1.2-24")
@both
def test_one_and_a_half_keep_alives_of_silence_end_the_connection(
    version: ProtocolVersion,
) -> None:
    house = House()
    client = house.connect("c1", version, keep_alive=10)
    house.wait(14)
    client.send(PingReqPacket())
    assert client.one(PingRespPacket)
    house.wait(14.9)
    assert client.closed is None
    house.wait(0.2)
    assert client.closed is not None


@conforms(v5="3.1.2-7 3.1.2-8 3.1.2-10", v311="3.1.2-8 3.1.2-10")
@both
def test_a_lost_connection_publishes_its_will_once(version: ProtocolVersion) -> None:
    house = House()
    watcher = house.connect("c-watcher", version)
    watcher.subscribe("w")
    client = house.resume("c1", version, will=WILL)
    client.drop()
    assert watcher.payloads() == [b"gone"]
    house.resume("c1", version).drop()
    house.wait(10_000_000)
    assert watcher.payloads() == []


@conforms(v5="3.1.2-10 3.14.4-3", v311="3.1.2-10 3.1.2-12 3.14.4-3")
@both
def test_a_normal_disconnect_and_no_will_publish_nothing(version: ProtocolVersion) -> None:
    house = House()
    watcher = house.connect("c-watcher", version)
    watcher.subscribe("#")
    house.connect("c1", version, will=WILL).send(DisconnectPacket())
    house.connect("c2", version).drop()
    house.wait(10_000_000)
    assert watcher.payloads() == []


@conforms(v5="3.1.2-12 3.1.2-14 3.1.2-15", v311="3.1.2-14 3.1.2-16 3.1.2-17")
@both
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_has_the_qos_and_retain_that_connect_says(
    version: ProtocolVersion, qos: int, retain: bool
) -> None:
    house = House()
    watcher = house.connect("c-watcher", version)
    watcher.subscribe("w", qos=2)
    will = Will("w", payload=b"gone", qos=QoS(qos), retain=retain)
    house.connect("c1", version, will=will).drop()
    assert int(watcher.one(PublishPacket).qos) == qos
    late = house.connect("c-late", version)
    late.subscribe("w", qos=2)
    assert late.payloads() == [b"gone"] * retain


@conforms(v5="3.14.4-1")
@both
@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_s_own_will_does_not_follow_its_disconnect(
    version: ProtocolVersion, qos: int
) -> None:
    house = House()
    will = Will("w", payload=b"gone", qos=QoS(qos))
    first = house.resume("c1", version, will=will)
    first.subscribe("w")
    first.inbox.clear()
    second = house.resume("c1", version)
    assert [type(packet) for packet in first.inbox] == [DisconnectPacket] * (version is V5)
    got = second.take(PublishPacket)
    assert [(packet.payload, packet.duplicate) for packet in got] == [(b"gone", False)] * qos


@conforms(v5="3.1.3-9 3.1.3-10")
def test_a_will_waits_for_its_client_and_keeps_its_properties_in_order() -> None:
    house = House()
    watcher = house.connect("c-watcher")
    watcher.subscribe("w")
    properties = [("b", "1"), ("a", "2"), ("b", "0")]
    will = Will("w", payload=b"gone", will_delay_interval=10, user_properties=properties)
    house.resume("c1", will=will).drop()
    house.wait(9)
    back = house.resume("c1", will=will)
    house.wait(100)
    assert watcher.payloads() == []
    back.drop()
    house.wait(11)
    assert watcher.one(PublishPacket).user_properties == properties


@conforms(v5="3.14.4-1 3.14.4-2")
def test_behind_a_clients_disconnect_nothing_is_looked_at_and_nothing_sent() -> None:
    house = House()
    client = house.connect("c1")
    client.subscribe("a")
    client.inbox.clear()
    client.send_bytes(DisconnectPacket().write() + PublishPacket("a", b"late").write())
    assert client.closed is not None
    house.connect("c2").publish("a")
    assert client.inbox == []


@conforms(v5="3.14.2-1")
def test_shutting_down_is_told_by_its_own_code() -> None:
    house = House()
    client = house.connect("c1")
    house.core.shut_down(house.now)
    house.settle()
    assert int(client.one(DisconnectPacket).reason_code) == 0x8B
