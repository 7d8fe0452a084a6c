from datetime import UTC, datetime

import mqtt5
from apache_beam.io.gcp.pubsub import PubsubMessage

from bench.load import PAYLOAD_BYTES, bare_command, device_of, event_time_of, number_of, payload
from mqtt.codec import ProtocolVersion
from schemas.layout import DEFAULT
from transforms.commands import CommandEncoder


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


def test_a_bare_command_is_the_packet_of_our_pipeline() -> None:
    attributes = {"deviceId": device_of(7), "commandName": "set"}
    message = PubsubMessage(payload(7, 1.5), attributes, message_id="7")
    _, head, tail = CommandEncoder(DEFAULT, ProtocolVersion.V5).encode(message, datetime.now(UTC))
    assert bare_command(7, 1.5) == head + (8).to_bytes(2) + tail
