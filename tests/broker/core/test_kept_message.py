"""A message of an earlier process is what it was, though it stays the bytes that were stored."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import PublishPacket, QoS

from broker.core.kept_message import KeptMessage
from broker.core.message import V5, Message, of_the_servers

TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, blacklist_characters="+#"),
    min_size=1,
    max_size=200,
)
PACKET = st.builds(
    PublishPacket,
    TEXT,
    st.one_of(
        st.binary(max_size=40), st.sampled_from([b"x" * 130, b"x" * 17_000, b"x" * 2_100_000])
    ),
    qos=st.sampled_from([QoS(1), QoS(2)]),
    packet_id=st.integers(1, 65_535),
    retain=st.booleans(),
    content_type=st.one_of(st.none(), TEXT),
    correlation_data=st.one_of(st.none(), st.binary(max_size=200)),
    user_properties=st.lists(st.tuples(TEXT, TEXT), max_size=3),
)


@given(PACKET, st.sampled_from([(), (5, 7)]), st.booleans())
def test_it_goes_to_subscribers_as_it_would_have_gone(
    packet: PublishPacket, ids: tuple[int, ...], v5: bool
) -> None:
    before = Message.of(of_the_servers(packet), packet.topic, "c1", 5.0)
    kept = KeptMessage(3, before.stored(), packet.topic, "c1", None, 9.0)
    flags = before.qos << 1 | (V5 if v5 else 0)
    ids = ids if v5 else ()
    assert kept.frame(flags, ids, 9.0) == before.frame(flags, ids, 5.0)
    for name in ("payload", "topic", "publisher", "qos", "retain", "expires_at"):
        assert getattr(kept, name) == getattr(before, name), name
    assert kept.stored() == before.stored()


def test_a_topic_that_an_alias_stood_for_is_there_whole() -> None:
    packet = PublishPacket("", b"payload", qos=QoS(1), packet_id=1, topic_alias=4)
    before = Message.of(of_the_servers(packet), "a/b", "c1", 5.0)
    for raw in (before.stored(), packet.write()):
        kept = KeptMessage(3, raw, "a/b", "c1", None, 9.0)
        head, properties = kept.frame(2 | V5, (), 9.0)
        assert head.endswith(b"\0\x03a/b")
        assert (properties, kept.payload) == (b"\0", b"payload")


def test_an_expiry_goes_on_where_it_was() -> None:
    packet = PublishPacket("a", b"", qos=QoS(1), packet_id=1, message_expiry_interval=60)
    kept = KeptMessage(3, packet.write(), "a", "c1", 130.0, 100.0)
    assert not kept.expired(129.0)
    assert kept.expired(130.0)
    _, properties = kept.frame(2 | V5, (), 120.0)
    assert properties == b"\x05\x02\0\0\0\x0a"
