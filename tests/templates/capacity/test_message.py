"""Sizes are those of our own messages and rows."""

from apache_beam.io.gcp.pubsub import PubsubMessage
from google.pubsub_v1 import types

from schemas.tables import TELEMETRY
from templates.capacity.message import (
    PUBSUB_TIME_BYTES,
    pubsub_bytes,
    row_bytes,
    row_values,
    typical,
)


def test_every_text_column_of_the_table_has_a_text_to_be_counted() -> None:
    texts = {field.name for field in TELEMETRY.fields if field.type in ("STRING", "JSON")}
    assert set(row_values(200)) == texts


def test_a_byte_of_payload_is_a_byte_of_message_and_of_row() -> None:
    assert pubsub_bytes(1200) - pubsub_bytes(200) == 1000
    assert row_bytes(1200) - row_bytes(200) == 1000


def test_a_message_is_near_what_goes_over_the_wire() -> None:
    message = typical(200)
    wire = len(
        types.PubsubMessage(
            data=message.payload, attributes=message.attributes()
        )._pb.SerializeToString()
    )
    # Protobuf adds lengths and tags, some four to six bytes an attribute; the id and the time of
    # the service are not on the wire to it.
    counted = pubsub_bytes(200) - PUBSUB_TIME_BYTES - 17
    assert counted <= wire <= counted + 6 * len(message.attributes()) + 6


def test_the_counted_message_is_telemetry_that_the_warehouse_takes() -> None:
    message = typical(200)
    sent = PubsubMessage(message.payload, message.attributes())
    assert type(message).from_pubsub(sent.data, sent.attributes) == message
