"""Packets survive the wire in both versions, and what is no packet is refused with its reason."""

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt5 import QoS

from mqtt.codec import Decoder, ProtocolVersion, encode
from mqtt.errors import MalformedPacket, PacketTooLarge, ProtocolError, UnsupportedProtocol

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5

# Legal in both versions, so each must come back as it went.
PACKETS: dict[str, mqtt5.Packet] = {
    "connack": mqtt5.ConnAckPacket(session_present=True),
    "publish qos 0": mqtt5.PublishPacket("a/b", b"payload"),
    "publish qos 1": mqtt5.PublishPacket("a/b", b"", qos=QoS.AT_LEAST_ONCE, packet_id=1),
    "publish qos 2 retained duplicate": mqtt5.PublishPacket(
        "ü", b"\x00\xff", qos=QoS.EXACTLY_ONCE, packet_id=65_535, retain=True, duplicate=True
    ),
    "puback": mqtt5.PubAckPacket(7),
    "pubrec": mqtt5.PubRecPacket(7),
    "pubrel": mqtt5.PubRelPacket(7),
    "pubcomp": mqtt5.PubCompPacket(7),
    "subscribe": mqtt5.SubscribePacket(
        3,
        [
            mqtt5.TopicFilter("a/#", max_qos=QoS.AT_LEAST_ONCE, retain_as_published=False),
            mqtt5.TopicFilter("+", max_qos=QoS.AT_MOST_ONCE, retain_as_published=False),
        ],
    ),
    "suback": mqtt5.SubAckPacket(
        3,
        [
            mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
            mqtt5.SubAckReasonCode.UNSPECIFIED_ERROR,
        ],
    ),
    "unsubscribe": mqtt5.UnsubscribePacket(4, ["a/#", "+"]),
    "pingreq": mqtt5.PingReqPacket(),
    "pingresp": mqtt5.PingRespPacket(),
    "disconnect": mqtt5.DisconnectPacket(),
}


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS.keys())
def test_a_packet_survives_the_wire(packet: mqtt5.Packet, version: ProtocolVersion) -> None:
    assert Decoder(protocol=version).feed(encode(packet, version)) == [packet]


@pytest.mark.parametrize("clean", [True, False])
def test_connect_311_survives_the_wire_and_says_how_long_its_session_lasts(clean: bool) -> None:
    packet = mqtt5.ConnectPacket(
        "client",
        username="user",
        password=b"secret",
        clean_start=clean,
        keep_alive=30,
        session_expiry_interval=0 if clean else 0xFFFFFFFF,
        will=mqtt5.Will("w", payload=b"gone", qos=QoS.AT_LEAST_ONCE, retain=True),
    )
    decoder = Decoder()
    assert decoder.feed(encode(packet, V311)) == [packet]
    assert decoder.protocol is V311


def test_connect_decides_the_version() -> None:
    decoder = Decoder()
    decoder.feed(mqtt5.ConnectPacket("client").write())
    assert decoder.protocol is V5


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_cuts_packets_wherever_the_stream_is_cut(sizes: list[int]) -> None:
    sent = list(PACKETS.values())
    stream = b"".join(packet.write() for packet in sent)
    decoder, got, at = Decoder(protocol=V5), [], 0
    for size in sizes:
        got += decoder.feed(stream[at : at + size])
        at += size
    got += decoder.feed(stream[at:])
    assert got == sent
    assert decoder.buffered_bytes == 0


@given(
    st.lists(
        st.one_of(
            st.integers(1, 65_535).map(mqtt5.PubAckPacket),
            st.just(mqtt5.PingRespPacket()),
            st.builds(
                mqtt5.PubAckPacket,
                st.integers(1, 65_535),
                reason_code=st.just(mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS),
            ),
        ),
        max_size=40,
    ),
    st.lists(st.integers(1, 40), max_size=10),
)
def test_acknowledgements_taken_in_rows_are_those_taken_one_by_one(
    sent: list[mqtt5.Packet], sizes: list[int]
) -> None:
    rows: list[int] = []
    decoder, stream, at = Decoder(protocol=V5), b"".join(packet.write() for packet in sent), 0
    decoder.take_pubacks = rows.extend
    rest: list[mqtt5.Packet] = []
    for size in [*sizes, len(stream)]:
        rest += decoder.feed(stream[at : at + size])
        at += size
    singly = [packet for packet in rest if isinstance(packet, mqtt5.PubAckPacket)]
    acknowledged = [packet for packet in sent if isinstance(packet, mqtt5.PubAckPacket)]
    refused = [packet for packet in acknowledged if int(packet.reason_code)]
    assert [packet for packet in singly if int(packet.reason_code)] == refused
    assert sorted(rows + [packet.packet_id for packet in singly]) == sorted(
        packet.packet_id for packet in acknowledged
    )
    assert decoder.buffered_bytes == 0


def test_successful_pubacks_in_a_row_cost_no_packets() -> None:
    rows: list[int] = []
    decoder = Decoder(protocol=V5)
    decoder.take_pubacks = rows.extend
    assert decoder.feed(b"".join(mqtt5.PubAckPacket(i).write() for i in (7, 65_535, 1))) == []
    assert rows == [7, 65_535, 1]


def test_refuses_a_large_packet_before_it_arrives() -> None:
    decoder = Decoder(protocol=V5, maximum_packet_bytes=1_000)
    header = mqtt5.PublishPacket("a", bytes(1_000)).write()[:5]
    with pytest.raises(PacketTooLarge) as caught:
        decoder.feed(header)
    assert caught.value.reason_code == 0x95


def test_gives_the_packets_before_a_bad_one() -> None:
    with pytest.raises(MalformedPacket) as caught:
        Decoder(protocol=V5).feed(mqtt5.PubAckPacket(1).write() + b"\x00\x00")
    assert caught.value.packets == [mqtt5.PubAckPacket(1)]


BAD = {
    "reserved type": b"\x00\x00",
    "remaining length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "field past the end": b"\x30\x02\x00\x05",
    "qos 3": b"\x36\x05\x00\x01a\x00\x01",
    "topic is no UTF-8": b"\x32\x06\x00\x01\xff\x00\x01\x00",
    "topic with NUL": b"\x30\x05\x00\x03a\x00b",
    "topic with wildcard": b"\x30\x05\x00\x03a/#",
    "packet identifier 0": b"\x32\x05\x00\x01a\x00\x00",
    "a filter that is none": b"\x82\x0a\x00\x01\x00\x05a/#/b\x00",
    "subscribe with wrong flags": b"\x80\x06\x00\x01\x00\x01a\x00",
}


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_refuses_what_is_no_packet(data: bytes, version: ProtocolVersion) -> None:
    if version is V5 and data[0] >> 4 == 3 and data[1] < 0x80:
        data = data[:1] + bytes((data[1] + 1,)) + data[2:] + b"\x00"  # no properties
    with pytest.raises(ProtocolError) as caught:
        Decoder(protocol=version).feed(data)
    assert caught.value.reason_code in (0x81, 0x82)


UP = [("KEY", "VAL")]
WITH_TEXTS = [
    mqtt5.ConnectPacket(
        "TXT",
        username="TXT",
        password=b"p",
        will=mqtt5.Will(
            "TXT",
            payload=b"p",
            will_delay_interval=1,
            content_type="TXT",
            response_topic="TXT",
            correlation_data=b"\xff",
            user_properties=UP,
        ),
        authentication_method="TXT",
        authentication_data=b"\xff",
        session_expiry_interval=1,
        user_properties=UP,
    ),
    mqtt5.ConnAckPacket(
        assigned_client_id="TXT",
        reason_str="TXT",
        response_info="TXT",
        server_reference="TXT",
        user_properties=UP,
    ),
    mqtt5.PublishPacket(
        "TXT",
        b"\xff",
        qos=mqtt5.QoS.AT_LEAST_ONCE,
        packet_id=0xFFFF,
        content_type="TXT",
        response_topic="TXT",
        correlation_data=b"\xff",
        subscription_ids=[300],
        user_properties=[*UP, ("k", "v" * 200)],
    ),
    mqtt5.PublishPacket("TXT", b"\xff", content_type="TXT", user_properties=UP),
    mqtt5.PubAckPacket(1, reason_str="TXT", user_properties=UP),
    mqtt5.PubRelPacket(1, reason_str="TXT", user_properties=UP),
    mqtt5.SubscribePacket(
        1, [mqtt5.TopicFilter("TXT")], subscription_id=268_435_455, user_properties=UP
    ),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode(1)], reason_str="TXT", user_properties=UP),
    mqtt5.UnsubscribePacket(1, ["TXT", "TXT"], user_properties=UP),
    mqtt5.DisconnectPacket(reason_str="TXT", server_reference="TXT", user_properties=UP),
    mqtt5.AuthPacket(authentication_method="TXT", reason_str="TXT", user_properties=UP),
]


@pytest.mark.parametrize("bad", [b"\xffXT", b"T\0T"], ids=["no UTF-8", "U+0000"])
@pytest.mark.parametrize("packet", WITH_TEXTS, ids=lambda packet: type(packet).__name__)
def test_5_0_refuses_every_text_that_is_none_and_prints_nothing(
    packet: mqtt5.Packet, bad: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = packet.write()
    assert Decoder(protocol=V5).feed(raw) == [packet]
    places = [at for at in range(len(raw)) if raw[at : at + 3] in (b"TXT", b"KEY", b"VAL")]
    assert places
    for at in places:
        with pytest.raises(MalformedPacket, match=r"UTF-8|U\+0000"):
            Decoder(protocol=V5).feed(raw[:at] + bad + raw[at + 3 :])
    assert capfd.readouterr().err == ""


def test_the_first_packet_must_be_connect() -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(b"\xc0\x00")


@pytest.mark.parametrize("data", [b"\x10\x08\x00\x06MQIsdp", b"\x10\x07\x00\x04MQTT\x06"])
def test_refuses_other_versions(data: bytes) -> None:
    with pytest.raises((UnsupportedProtocol, MalformedPacket)):
        Decoder().feed(data)


@given(st.binary(max_size=60))
def test_bytes_never_end_in_another_error(data: bytes) -> None:
    for version in (V311, V5):
        decoder = Decoder(protocol=version, maximum_packet_bytes=1_000)
        try:
            decoder.feed(data)
        except ProtocolError:
            continue


def test_311_has_no_auth() -> None:
    with pytest.raises(ValueError, match=r"3\.1\.1 has no AuthPacket"):
        encode(mqtt5.AuthPacket(), V311)
