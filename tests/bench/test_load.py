import mqtt5

from bench.load import PAYLOAD_BYTES, event_time_of, number_of, payload


def test_a_payload_is_200_bytes_and_says_its_number_and_time() -> None:
    data = payload(1_000_000_123, 1_763_860_000.123456)
    assert len(data) == PAYLOAD_BYTES
    assert number_of(data) == 1_000_000_123
    assert event_time_of(data) == 1_763_860_000.123456


def test_a_payload_is_a_legal_publish() -> None:
    written = mqtt5.PublishPacket("a", payload(1, 1.5), packet_id=1, qos=mqtt5.QoS.AT_LEAST_ONCE)
    packet, _ = mqtt5.read(memoryview(written.write()))
    assert isinstance(packet, mqtt5.PublishPacket)
    assert packet.payload == payload(1, 1.5)
