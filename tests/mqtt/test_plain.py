"""A PUBLISH that is read from its bytes is the one that the codec reads."""

from __future__ import annotations

from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import QoS

from mqtt import plain
from mqtt.codec import Decoder, ProtocolVersion, encode
from mqtt.errors import ProtocolError
from mqtt.plain import V5_FLAG, FullPublish, PlainPublishes
from mqtt.properties import variable_byte_integer

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5

TOPICS = ("a", "a/b", "ü/€", "t" * 130, "l" * 300)


class Plain:
    """What is made here: its bytes, put together again, and the packet that these are."""

    def __init__(
        self,
        topic: str,
        payload: bytes,
        flags: int,
        packet_id: int,
        head: bytes,
        properties: bytes,
    ) -> None:
        self.version = V5 if flags & V5_FLAG else V311
        qos = flags >> 1 & 3
        self.raw = head
        if qos:
            self.raw += packet_id.to_bytes(2, "big")
        if self.version is V5:
            self.raw += properties
        self.raw += payload
        [packet] = Decoder(protocol=self.version).feed(self.raw)
        assert isinstance(packet, mqtt5.PublishPacket)
        assert (packet.topic, packet.payload, packet.packet_id or 0) == (topic, payload, packet_id)
        assert (packet.qos, packet.retain) == (qos, bool(flags & 1))
        self.packet = packet


WITH_PROPERTIES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"content_type": "text/plain"},
    {"user_properties": [("site", "north"), ("site", "ü")], "payload_format_indicator": 1},
    {"content_type": "x" * 200},
    {"message_expiry_interval": 60},
    {"topic_alias": 3},
    {"response_topic": "a/b", "correlation_data": b"\0"},
    {"payload_format_indicator": 2},
)


@st.composite
def publishes(draw: st.DrawFn) -> mqtt5.PublishPacket:
    qos = draw(st.integers(0, 2))
    return mqtt5.PublishPacket(
        draw(st.sampled_from(TOPICS)),
        draw(st.sampled_from((b"", b"x", bytes(100), bytes(16_300)))),
        qos=QoS(qos),
        retain=draw(st.booleans()),
        duplicate=bool(qos) and draw(st.sampled_from((False, False, True))),
        packet_id=draw(st.integers(1, 65_535)) if qos else None,
        **draw(st.sampled_from(WITH_PROPERTIES)),
    )


def know(shared: PlainPublishes[Any], topic: str, properties: bytes = b"") -> None:
    alias = None if topic else 1
    shared.know(FullPublish(mqtt5.PublishPacket(topic, b"", topic_alias=alias), properties))


def without_properties(packet: mqtt5.PublishPacket) -> mqtt5.PublishPacket:
    return mqtt5.PublishPacket(
        packet.topic,
        packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        duplicate=packet.duplicate,
        packet_id=packet.packet_id,
    )


def read(decoder: Decoder[Any], chunks: list[bytes]) -> tuple[list[object], int | None]:
    """What came, each as a packet, and the reason of what ended it."""
    found: list[object] = []
    reason = None
    try:
        for chunk in chunks:
            found += decoder.feed(chunk)
    except ProtocolError as error:
        found += error.packets
        reason = error.reason_code
    made = (Plain, FullPublish)
    return [item.packet if isinstance(item, made) else item for item in found], reason


@pytest.mark.parametrize("version", [V311, V5])
@given(
    sent=st.lists(publishes() | st.just(mqtt5.PingReqPacket()), max_size=20),
    cuts=st.lists(st.integers(0, 2_000), max_size=5),
    wrong=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
)
def test_it_makes_no_difference_who_reads(
    version: ProtocolVersion,
    sent: list[mqtt5.Packet],
    cuts: list[int],
    wrong: list[tuple[int, int]],
) -> None:
    packets = [
        without_properties(packet)
        if version is V311 and isinstance(packet, mqtt5.PublishPacket)
        else packet
        for packet in sent
    ]
    stream = bytearray(b"".join(encode(packet, version) for packet in packets))
    for at, value in wrong:
        if at < len(stream):
            stream[at] = value
    chunks, rest = [], bytes(stream)
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    chunks.append(rest)
    shared = PlainPublishes(Plain)
    for topic in TOPICS:
        know(shared, topic)
    expected = read(Decoder(protocol=version), [bytes(stream)])
    assert read(Decoder(protocol=version, plain=shared), chunks) == expected
    learning = PlainPublishes(Plain)
    assert read(Decoder(protocol=version, plain=learning), [bytes(stream)]) == expected


@pytest.mark.parametrize("version", [V311, V5])
def test_the_second_packet_of_a_topic_is_made_from_its_bytes(version: ProtocolVersion) -> None:
    packet = mqtt5.PublishPacket("a/b", bytes(200), qos=QoS.AT_LEAST_ONCE, packet_id=7, retain=True)
    decoder = Decoder(protocol=version, plain=PlainPublishes(Plain))
    raw = encode(packet, version)
    first, second = decoder.feed(raw * 2)
    assert first == FullPublish(packet, b"")
    assert isinstance(second, Plain)
    assert (second.raw, second.version) == (raw, version)


# A payload format indicator of 0, which the codec can't tell from none.
@pytest.mark.parametrize(
    "properties", [b"\x01\0", b"\x03\0\x01x", b"\x26\0\x01k\0\x79" + b"v" * 121]
)
def test_properties_that_mean_nothing_to_a_server_are_known_the_second_time(
    properties: bytes,
) -> None:
    rest = b"\0\x01a" + bytes((len(properties),)) + properties + b"payload"
    raw = b"\x30" + variable_byte_integer(len(rest)) + rest
    decoder = Decoder(protocol=V5, plain=PlainPublishes(Plain))
    first, second = decoder.feed(raw * 2)
    assert isinstance(first, FullPublish)
    assert first.properties == properties
    assert isinstance(second, Plain)
    assert second.raw == raw


@pytest.mark.parametrize(
    "properties",
    [
        {"message_expiry_interval": 60},
        {"topic_alias": 3},
        {"subscription_ids": [4]},
        {"response_topic": "a"},
        {"payload_format_indicator": 2},
        {"content_type": "x" * 200},
    ],
)
def test_what_means_something_or_takes_much_room_is_read_each_time(
    properties: dict[str, Any],
) -> None:
    packet = mqtt5.PublishPacket("a", b"payload", **properties)
    decoder = Decoder(protocol=V5, plain=PlainPublishes(Plain))
    for read_packet in decoder.feed(packet.write() * 3):
        assert isinstance(read_packet, FullPublish)
        assert read_packet.packet == packet


def test_nothing_is_read_before_connect() -> None:
    shared = PlainPublishes(Plain)
    know(shared, "a")
    with pytest.raises(ProtocolError, match="not CONNECT"):
        Decoder(plain=shared).feed(mqtt5.PublishPacket("a", b"xxxx").write())


def test_a_packet_larger_than_is_taken_is_none() -> None:
    shared = PlainPublishes(Plain)
    know(shared, "a")
    decoder = Decoder(protocol=V5, maximum_packet_bytes=100, plain=shared)
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(mqtt5.PublishPacket("a", bytes(200)).write())
    assert caught.value.reason_code == 0x95


def test_so_many_topics_are_remembered_and_no_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "KNOWN_TOPICS", 10)
    shared = PlainPublishes(Plain)
    for number in range(25):
        know(shared, f"a/{number}")
    assert len(shared.topics) == 5
    know(shared, "a" * 257)
    know(shared, "")
    assert len(shared.topics) == 5


def test_so_many_properties_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "KNOWN_PROPERTIES", 10)
    shared = PlainPublishes(Plain)
    for number in range(25):
        know(shared, "a", b"\x03\0\x01" + bytes((97 + number,)))
    assert len(shared.properties) == 6
