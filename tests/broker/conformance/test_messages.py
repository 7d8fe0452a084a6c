"""Section 3.3: what a message bears, how long it lasts, and retained messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mqtt5 import (
    DisconnectPacket,
    PublishPacket,
    RetainHandling,
)

from mqtt.codec import ProtocolVersion
from tests.broker.conformance.raw import Recorded, both, connect, framed, text
from tests.broker.core.harness import V5, V311, House
from tests.harness.conformance import conforms


@conforms(
    v5="3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8",
    v311="3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8 3.3.1-10 3.3.1-11 3.3.1-12",
)
@both
def test_a_topic_has_the_last_retained_message(version: ProtocolVersion) -> None:
    house = House()
    writer = house.connect("c1", version)

    def stored() -> list[tuple[bytes, int, bool]]:
        reader = house.connect("c2", version)
        reader.subscribe("a", qos=2)
        return [(p.payload, int(p.qos), p.retain) for p in reader.take(PublishPacket)]

    writer.publish("a", b"not stored", qos=1)
    assert stored() == []
    writer.publish("a", b"1", qos=2, retain=True)
    assert stored() == [(b"1", 2, True)]
    writer.publish("a", b"2", qos=0, retain=True)
    writer.publish("a", b"passes by", qos=1)
    assert stored() == [(b"2", 0, True)]
    writer.publish("a", b"", qos=1, retain=True)
    assert stored() == []
    assert house.core.retained.messages == 0


@conforms(v311="3.3.1-9 3.3.1-8")
def test_a_3_1_1_client_sees_the_flag_on_stored_messages_alone() -> None:
    house = House()
    client = house.connect("c1", V311)
    client.subscribe("a")
    client.publish("a", retain=True)
    assert not client.one(PublishPacket).retain
    client.subscribe("a")
    assert client.one(PublishPacket).retain


@conforms(v5="3.3.1-9 3.3.1-10 3.3.1-11 3.8.4-4")
@pytest.mark.parametrize(
    ("handling", "new", "again"),
    [
        (RetainHandling.SEND_ALWAYS, True, True),
        (RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS, True, False),
        (RetainHandling.SEND_NEVER, False, False),
    ],
)
def test_retain_handling(handling: RetainHandling, new: bool, again: bool) -> None:
    house = House()
    client = house.connect("c1")
    client.publish("a", retain=True)
    client.subscribe("a", retain_handling=handling)
    assert client.payloads() == [b"x"] * new
    client.subscribe("a", retain_handling=handling)
    assert client.payloads() == [b"x"] * again


@conforms(v5="3.3.1-12 3.3.1-13")
def test_retain_as_published() -> None:
    house = House()
    plain, published = house.connect("c1"), house.connect("c2")
    plain.subscribe("a")
    published.subscribe("a", retain_as_published=True)
    for retain in (False, True):
        house.connect("c3").publish("a", retain=retain)
        assert not plain.one(PublishPacket).retain
        assert published.one(PublishPacket).retain is retain


@conforms(
    v5="3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20 3.3.2-3",
    v311="3.3.2-3",
)
def test_what_a_message_bears_is_passed_on_unaltered() -> None:
    house = House()
    properties: dict[str, Any] = {
        "payload_format_indicator": 1,
        "content_type": "text/plain; \u00e9",
        "response_topic": "answers/\u00e9",
        "correlation_data": b"\0\xff",
        "user_properties": [("b", "1"), ("a", ""), ("b", "0"), ("", "\u00e9")],
    }
    readers = [house.connect(f"c{n}") for n in range(3)]
    old = house.connect("c9", V311)
    for reader, qos in zip(readers, (0, 1, 2), strict=True):
        reader.subscribe("some/#", qos=qos)
    old.subscribe("some/+")
    house.connect("c8").publish("some/topic", b"\xff\0", qos=2, **properties)
    for reader in readers:
        got = reader.one(PublishPacket)
        assert (got.topic, got.payload) == ("some/topic", b"\xff\0")
        assert {name: getattr(got, name) for name in properties} == properties
    crossed = old.one(PublishPacket)
    assert (crossed.topic, crossed.payload) == ("some/topic", b"\xff\0")


PASSED_ON = (
    # A payload format indicator of 0: the same as none, and not the same bytes.
    b"\x01\0",
    b"\x01\1\x03" + text(b"text/plain"),
    b"\x26" + text(b"b") + text(b"1") + b"\x26" + text(b"a") + text(b"") + b"\x01\0",
    b"\x09" + text(b"\0\xff") + b"\x08" + text(b"answers/\xc3\xa9"),
)


@pytest.mark.parametrize("properties", PASSED_ON)
@pytest.mark.parametrize("alias", [b"", b"\x23\0\1"])
@pytest.mark.parametrize("expiry", [b"", b"\x02\0\0\0\x3c"])
@conforms(v5="3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20")
def test_properties_are_passed_on_byte_for_byte(
    properties: bytes, alias: bytes, expiry: bytes, tmp_path: Path
) -> None:
    """To who is here and who is away, from the store, retained, and with what the server adds."""
    house = House(store=tmp_path / "store.db")
    away = house.resume("c1")
    away.subscribe("#", qos=2)
    away.drop()
    here = Recorded(house, V5)
    here.send_bytes(connect(V5, payload=text(b"c4")))
    here.subscribe("#", qos=1, identifier=5)
    writer = house.connect("c2")
    packet_id, all_of_them = b"\0\1", alias + properties + expiry
    publish = b"\0\1a" + packet_id + bytes((len(all_of_them),)) + all_of_them + b"x"
    for _ in range(2):
        writer.send_bytes(framed(0x33, publish))
    assert here.raw.count(properties + expiry + b"\x0b\5x") == 2
    house.crash()
    later = Recorded(house, V5)
    later.send_bytes(connect(V5, flags=0, payload=text(b"c1")))
    assert later.raw.count(properties + expiry + b"x") == 2
    reader = Recorded(house, V5)
    reader.send_bytes(connect(V5, payload=text(b"c3")))
    reader.subscribe("a")
    assert reader.raw.count(properties + expiry + b"x") == 1


@pytest.mark.parametrize("properties", PASSED_ON)
@conforms(v5="3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20")
def test_properties_of_a_will_are_passed_on_byte_for_byte(
    properties: bytes, tmp_path: Path
) -> None:
    """At once, and when the broker was killed before its delay had passed."""
    house = House(store=tmp_path / "store.db")
    delay, outlasting = b"\x18\0\0\0\5", b"\x05\x11\0\0\0\x3c"
    for crashes in (False, True):
        leaver = house.open(V5)
        will = bytes((len(delay + properties),)) + delay + properties + text(b"w") + text(b"gone")
        head = text(b"MQTT") + b"\5\x06\0\0" + outlasting
        leaver.send_bytes(framed(0x10, head + text(b"c1") + will))
        leaver.drop()
        if crashes:
            house.crash()
        reader = Recorded(house, V5)
        reader.send_bytes(connect(V5, payload=text(b"c2")))
        reader.subscribe("w")
        assert b"gone" not in reader.raw
        house.wait(10)
        assert reader.raw.endswith(bytes((len(properties),)) + properties + b"gone")


@conforms(v5="3.3.2-5 3.3.2-6")
def test_a_message_expires_and_says_how_long_it_has_left() -> None:
    house = House()
    house.resume("c1").subscribe("a")
    writer = house.connect("c2")
    house.resume("c1").drop()
    writer.publish("a", b"short", qos=1, message_expiry_interval=5)
    writer.publish("a", b"long", qos=1, message_expiry_interval=50)
    house.wait(20)
    got = house.resume("c1").one(PublishPacket)
    assert (got.payload, got.message_expiry_interval) == (b"long", 30)


@conforms(v5="3.3.2-7 3.3.2-8 3.3.2-9 3.3.2-12")
def test_topic_aliases_of_a_client() -> None:
    house = House(topic_alias_maximum=10)
    reader = house.connect("c1")
    reader.subscribe("#", qos=0)
    client = house.connect("c2")
    for alias in range(1, 11):
        client.publish(f"t/{alias}", topic_alias=alias)
        client.publish("", topic_alias=alias)
    topics_got = [packet.topic for packet in reader.take(PublishPacket)]
    assert topics_got == [f"t/{alias}" for alias in range(1, 11) for _ in range(2)]
    again = house.connect("c2")
    again.publish("", topic_alias=1)
    assert int(again.one(DisconnectPacket).reason_code) == 0x82
    for alias in (0, 11):
        client = house.connect("c2")
        raw = bytearray(PublishPacket("t", b"", topic_alias=9).write())
        raw[raw.index(0x23) + 2] = alias
        client.send_bytes(bytes(raw))
        assert int(client.one(DisconnectPacket).reason_code) == 0x94
    assert reader.payloads() == []


@conforms(v5="3.3.2-14 3.3.4-6")
@pytest.mark.parametrize("bad", [{"response_topic": "a/?"}, {"subscription_ids": [1]}])
def test_what_a_client_may_not_say_of_a_message(bad: dict[str, Any]) -> None:
    house = House()
    client = house.connect("c1")
    client.send_bytes(PublishPacket("a", b"", **bad).write().replace(b"?", b"+"))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82
