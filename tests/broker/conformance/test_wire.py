"""Sections 1.5 and 2, and the fixed headers of section 3: what is no packet ends the connection."""

from __future__ import annotations

import pytest
from mqtt5 import PingReqPacket, PingRespPacket, PublishPacket, SubAckPacket, UnsubAckPacket

from mqtt.codec import ProtocolVersion
from mqtt.properties import variable_byte_integer
from tests.broker.conformance.raw import (
    both,
    connect,
    framed,
    is_refused,
    publish,
    request,
    text,
)
from tests.broker.core.harness import V5, V311, House
from tests.harness.conformance import conforms

TEXTS = pytest.mark.parametrize(
    "bad", [b"\xff", b"\xed\xa0\x80", b"a\0"], ids=["no UTF-8", "a surrogate", "U+0000"]
)


@conforms(
    v5="1.5.4-1 1.5.4-2 3.3.2-1 3.8.3-1 3.10.3-1 4.7.3-2 4.13.1-1",
    v311="1.5.3-1 1.5.3-2 3.3.2-1 3.8.3-1 3.10.3-1 4.7.3-2 4.8.0-1",
)
@both
@TEXTS
def test_text_that_is_none_ends_the_connection(version: ProtocolVersion, bad: bytes) -> None:
    is_refused(version, publish(version, 0x30, bad))
    is_refused(version, request(version, 0x82, text(bad) + b"\1"))
    is_refused(version, request(version, 0xA2, text(bad)))


@conforms(
    v5="3.1.3-4 3.1.3-11 3.1.3-12 3.1.4-1",
    v311="3.1.3-4 3.1.3-10 3.1.3-11 3.1.4-1",
)
@both
@TEXTS
@pytest.mark.parametrize("where", ["client id", "will topic", "user name"])
def test_text_that_is_none_in_connect_opens_nothing(
    version: ProtocolVersion, bad: bytes, where: str
) -> None:
    good = text(b"c1")
    will_properties = b"\0" if version is V5 else b""
    flags, payload = {
        "client id": (0x02, text(bad)),
        "will topic": (0x06, good + will_properties + text(bad) + text(b"")),
        "user name": (0x82, good + text(bad)),
    }[where]
    house = House()
    client = house.open(version)
    client.send_bytes(connect(version, flags, payload))
    assert client.closed is not None
    assert len(house.core.sessions) == 0


@conforms(v5="1.5.7-1 3.3.2-13 3.3.2-19")
@TEXTS
@pytest.mark.parametrize("identifier", [0x03, 0x08, 0x26])
def test_properties_are_text_too(bad: bytes, identifier: int) -> None:
    values = [text(b"k"), text(bad)] if identifier == 0x26 else [text(bad)]
    properties = bytes((identifier,)) + b"".join(values)
    body = text(b"a") + bytes((len(properties),)) + properties
    assert is_refused(V5, framed(0x30, body)) == 0x81


@conforms(v5="1.5.4-3 4.7.3-4", v311="1.5.3-3 4.7.3-4")
@both
def test_topics_are_taken_as_they_are(version: ProtocolVersion) -> None:
    house = House()
    client = house.connect("c1", version)
    # A byte order mark, and one letter in two forms of Unicode.
    names = ["\ufeffa", "a", "\u00e9", "e\u0301", "A"]
    for name in names:
        client.subscribe(name)
    for name in names:
        client.publish(name)
    assert [packet.topic for packet in client.take(PublishPacket)] == names


@conforms(v5="1.5.5-1")
@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)],
)
def test_lengths_take_as_few_bytes_as_they_can(value: int, size: int) -> None:
    assert len(variable_byte_integer(value)) == size


@conforms(v5="1.5.5-1 2.2.2-1")
@pytest.mark.parametrize("size", [0, 100, 120, 130, 16_370, 16_390])
def test_what_is_sent_is_as_short_as_the_codec_would_write_it(size: int) -> None:
    house = House()
    client = house.connect("c1", topic_alias_max=1)
    client.subscribe("some/topic")
    house.connect("c2").publish("some/topic", b"x" * size)
    house.connect("c2").publish("some/topic", b"x" * size)
    for packet in client.take(PublishPacket):
        raw = packet.write()
        assert packet.topic_alias == 1
        assert (
            PublishPacket(packet.topic, packet.payload, topic_alias=packet.topic_alias).write()
            == raw
        )


FLAGS = [
    pytest.param(b"\x60\x02\x00\x01", id="PUBREL"),
    pytest.param(b"\x41\x02\x00\x01", id="PUBACK"),
    pytest.param(b"\x52\x02\x00\x01", id="PUBREC"),
    pytest.param(b"\x71\x02\x00\x01", id="PUBCOMP"),
    pytest.param(b"\xc1\x00", id="PINGREQ"),
    pytest.param(b"\xe1\x00", id="DISCONNECT"),
]


@conforms(
    v5="2.1.3-1 3.6.1-1 3.14.1-1",
    v311="2.2.2-1 2.2.2-2 3.6.1-1 3.14.1-1",
)
@both
@pytest.mark.parametrize("data", FLAGS)
def test_reserved_flags_have_their_values(version: ProtocolVersion, data: bytes) -> None:
    assert is_refused(version, data) in (0, 0x81)


@conforms(v5="3.8.1-1 3.10.1-1 3.15.1-1", v311="3.8.1-1 3.10.1-1")
@both
def test_requests_have_their_flags(version: ProtocolVersion) -> None:
    assert is_refused(version, request(version, 0x80, text(b"a") + b"\1")) in (0, 0x81)
    assert is_refused(version, request(version, 0xA0, text(b"a"))) in (0, 0x81)
    if version is V5:
        assert is_refused(version, b"\xf1\x00") == 0x81


@conforms(v5="3.3.1-4 3.3.1-2 4.3.1-1", v311="3.3.1-4 3.3.1-2 4.3.1-1")
@both
@pytest.mark.parametrize("first", [0x36, 0x38])
def test_publish_flags_that_mean_nothing_end_the_connection(
    version: ProtocolVersion, first: int
) -> None:
    packet_id = b"\0\1" if first == 0x36 else b""
    assert is_refused(version, publish(version, first, b"a", packet_id)) in (0, 0x81)


@conforms(v5="2.2.1-3", v311="2.3.1-1")
@both
def test_packet_identifier_0_ends_the_connection(version: ProtocolVersion) -> None:
    for data in (
        publish(version, 0x32, b"a", b"\0\0"),
        request(version, 0x82, text(b"a") + b"\1", b"\0\0"),
        request(version, 0xA2, text(b"a"), b"\0\0"),
        *(bytes((first, 2, 0, 0)) for first in (0x40, 0x50, 0x62, 0x70)),
    ):
        assert is_refused(version, data) in (0, 0x81)


@conforms(v5="4.13.1-1", v311="4.8.0-1")
@both
@pytest.mark.parametrize("first", [0x20, 0x90, 0xB0, 0xD0])
@pytest.mark.parametrize("body", [b"", b"\0\1", b"\0\1\0", b"\0\1\0\0"])
def test_what_only_a_server_sends_is_not_taken_from_a_client(
    version: ProtocolVersion, first: int, body: bytes
) -> None:
    assert is_refused(version, framed(first, body)) in (0, 0x82)


@conforms(v5="4.13.1-1")
@pytest.mark.parametrize("identifier", [0x01, 0x02, 0x03, 0x23, 0x26])
@pytest.mark.parametrize("payload", [b"payload", b"\0\1\0\1\0\1\0"])
def test_a_property_that_runs_into_the_payload_ends_the_connection(
    identifier: int, payload: bytes
) -> None:
    # With 7 bytes of payload each of these could be read, and something would be left.
    data = framed(0x32, text(b"t") + b"\0\1" + bytes((1, identifier)) + payload)
    assert is_refused(V5, data) in (0x81, 0x82, 0x94)
    client = House().connect("c1")
    long = b"\x26" + text(b"n" * 100) + text(b"v" * 100)
    size = variable_byte_integer(len(long))
    client.send_bytes(b"\x30" + variable_byte_integer(3 + len(size + long) + 1) + text(b"t"))
    client.send_bytes(size + long + b"x")
    assert client.closed is None


@conforms(v5="2.2.1-2 3.3.4-1 4.3.1-1", v311="2.3.1-5 3.3.4-1 4.3.1-1")
@both
def test_a_qos_0_publish_has_no_identifier_and_no_answer(version: ProtocolVersion) -> None:
    house = House()
    client = house.connect("c1", version)
    client.subscribe("a", qos=2)
    # Were there an identifier, its bytes would not be in the payload.
    client.inbox.clear()
    client.send_bytes(framed(0x30, text(b"a") + (b"\0" if version is V5 else b"") + b"\0\1x"))
    got = client.one(PublishPacket)
    assert (got.payload, got.packet_id, got.duplicate) == (b"\0\1x", None, False)
    assert client.inbox == []


@conforms(
    v5="3.3.2-2 4.7.0-1 4.7.3-1 4.7.3-2",
    v311="3.3.2-2 4.7.1-1 4.7.3-1 4.7.3-2",
)
@both
@pytest.mark.parametrize("topic", [b"#", b"a/+", b"", b"a\0b"])
def test_a_topic_that_is_none_ends_the_connection(version: ProtocolVersion, topic: bytes) -> None:
    assert is_refused(version, publish(version, 0x30, topic)) in (0, 0x81, 0x82, 0x90)


@conforms(
    v5="4.7.1-1 4.7.1-2 4.7.3-1 4.8.2-1 4.8.2-2",
    v311="4.7.1-2 4.7.1-3 4.7.3-1",
)
@both
@pytest.mark.parametrize("pattern", [b"a/#/b", b"a#", b"a+", b"+a/b", b""])
def test_a_filter_that_is_none_ends_the_connection(
    version: ProtocolVersion, pattern: bytes
) -> None:
    assert is_refused(version, request(version, 0x82, text(pattern) + b"\1")) in (0, 0x8F)
    if version is V5:
        for share in (b"$share//" + pattern, b"$share/a+/" + pattern, b"$share/g"):
            assert is_refused(V5, request(V5, 0x82, text(share) + b"\1")) == 0x8F


@conforms(v5="4.7.3-3", v311="4.7.3-3")
@both
def test_the_longest_topic_is_taken(version: ProtocolVersion) -> None:
    house = House()
    client = house.connect("c1", version)
    longest = "a" * 65_535
    assert client.subscribe(longest) == [1]
    client.publish(longest)
    assert client.one(PublishPacket).topic == longest


@conforms(v5="3.8.3-2 3.10.3-2", v311="3.8.3-3 3.10.3-2")
@both
def test_a_request_without_filters_ends_the_connection(version: ProtocolVersion) -> None:
    assert is_refused(version, request(version, 0x82, b"")) in (0, 0x82)
    assert is_refused(version, request(version, 0xA2, b"")) in (0, 0x82)


@conforms(v5="3.8.3-5", v311="3.8.3-4")
@both
@pytest.mark.parametrize("options", [0x03, 0x40, 0x80, 0x31])
def test_options_that_mean_nothing_end_the_connection(
    version: ProtocolVersion, options: int
) -> None:
    data = request(version, 0x82, text(b"a") + bytes((options,)))
    assert is_refused(version, data) in (0, 0x81, 0x82)


@conforms(
    v5="2.2.1-6 3.8.4-1 3.8.4-2 3.10.4-4 3.10.4-5", v311="2.3.1-7 3.8.4-1 3.8.4-2 3.10.4-4 3.10.4-5"
)
@both
def test_requests_are_answered_with_their_identifier(version: ProtocolVersion) -> None:
    client = House().connect("c1", version)
    client.send_bytes(request(version, 0x82, text(b"a") + b"\1", b"\x12\x34"))
    assert client.one(SubAckPacket).packet_id == 0x1234
    for _ in range(2):
        # The second time there is nothing to delete.
        client.send_bytes(request(version, 0xA2, text(b"a"), b"\x12\x35"))
        assert client.one(UnsubAckPacket).packet_id == 0x1235


@conforms(v5="3.12.4-1 4.9.0-3", v311="3.12.4-1")
@both
def test_a_ping_is_answered(version: ProtocolVersion) -> None:
    client = House().connect("c1", version, **({"receive_max": 1} if version is V5 else {}))
    client.send(PingReqPacket())
    assert client.one(PingRespPacket)


@conforms(v311="4.8.0-2")
def test_what_a_3_1_1_client_cannot_be_told_of_ends_the_connection() -> None:
    house = House(retained_messages=1)
    client = house.connect("c1", V311)
    for topic in ("a", "b"):
        client.publish(topic, qos=1, retain=True)
    assert client.closed is not None
