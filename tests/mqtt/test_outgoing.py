"""What is encoded before its packet identifier is known is the packet that the codec writes."""

from __future__ import annotations

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqtt.codec import Decoder, ProtocolVersion
from mqtt.errors import TopicError
from mqtt.outgoing import Message, encoded, fixed_header, is_retained, topic_field

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
topics = st.text(
    st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=200
)
messages = st.builds(
    Message,
    topics,
    st.binary(max_size=20_000),
    st.booleans(),
    st.none() | st.integers(0, 0xFFFFFFFF),
    st.none() | texts,
    st.none() | topics,
    st.none() | st.binary(max_size=40),
    st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)


def decoded(data: bytes, protocol: ProtocolVersion) -> mqtt5.PublishPacket:
    (packet,) = Decoder(protocol=protocol).feed(data)
    assert isinstance(packet, mqtt5.PublishPacket)
    return packet


@given(messages, st.integers(1, 65_535))
def test_head_identifier_and_tail_are_the_packet(message: Message, packet_id: int) -> None:
    head, tail = encoded(message, ProtocolVersion.V5)
    packet = decoded(head + packet_id.to_bytes(2, "big") + tail, ProtocolVersion.V5)
    assert packet == mqtt5.PublishPacket(
        message.topic,
        message.payload,
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=packet_id,
        retain=message.retain,
        message_expiry_interval=message.expiry_seconds,
        content_type=message.content_type,
        response_topic=message.response_topic,
        correlation_data=message.correlation_data,
        user_properties=list(message.user_properties),
    )
    assert is_retained(head) == message.retain


@given(messages, st.integers(1, 65_535))
def test_on_3_1_1_the_tail_is_the_payload(message: Message, packet_id: int) -> None:
    head, tail = encoded(message, ProtocolVersion.V311)
    assert tail == message.payload
    packet = decoded(head + packet_id.to_bytes(2, "big") + tail, ProtocolVersion.V311)
    assert (packet.topic, packet.packet_id) == (message.topic, packet_id)
    assert packet.retain == message.retain


@given(messages)
def test_a_head_is_its_fixed_header_and_its_topic(message: Message) -> None:
    message = message._replace(retain=False)
    head, tail = encoded(message, ProtocolVersion.V5)
    topic = topic_field(head)
    assert topic[2:].decode() == message.topic
    assert fixed_header(len(topic) + 2 + len(tail)) + topic == head


def test_a_packet_longer_than_any_is_refused() -> None:
    assert fixed_header(268_435_455) == b"\x32\xff\xff\xff\x7f"
    with pytest.raises(ValueError, match="more than a packet holds"):
        fixed_header(268_435_456)


@pytest.mark.parametrize("message", [Message("a/+", b""), Message("a", b"", response_topic="#")])
def test_a_wildcard_is_refused(message: Message) -> None:
    with pytest.raises(TopicError):
        encoded(message, ProtocolVersion.V5)
