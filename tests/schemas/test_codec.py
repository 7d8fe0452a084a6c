import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import MAXIMUM_DEPTH, Codec
from schemas.errors import InvalidPayload, UnknownSchema
from schemas.validation import compile_schema

CODEC = Codec.packaged()
READING = {"timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC), "readings": {"temperature": 21.5}}

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@settings(max_examples=60, deadline=None)
@given(readings=st.dictionaries(st.text(), VALUES), message_id=st.none() | st.text(min_size=1))
@pytest.mark.parametrize(
    ("encoding", "kind"), [("json", "application/json"), ("avro", "avro/binary")]
)
def test_a_record_survives_its_encoding(
    encoding: Any, kind: str | None, readings: dict[str, Any], message_id: str | None
) -> None:
    record = {"message_id": message_id, "readings": readings}
    payload = CODEC.encode(record, "reading.v1", encoding)
    decoded = CODEC.decode(payload, schema_id="reading.v1", content_type=kind)
    assert decoded.record["readings"] == readings
    assert decoded.message_id == message_id
    assert json.loads(decoded.json)["readings"] == readings


@settings(max_examples=100, deadline=None)
@given(payload=st.binary(max_size=60), kind=st.sampled_from([None, "avro/binary"]))
def test_any_bytes_are_decoded_or_invalid_and_never_an_accident(
    payload: bytes, kind: str | None
) -> None:
    with contextlib.suppress(InvalidPayload):
        CODEC.decode(payload, schema_id="reading.v1", content_type=kind)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "payload is empty"),
        (b"\xff{}", "not valid UTF-8: byte 0xff at 0"),
        (b"{", "not JSON: .* at line 1 column 2"),
        (b'{"readings": {"t": NaN}}', "NaN is no JSON number"),
        (b'{"readings": {"t": 1e999}}', "number '1e999' is too large"),
        (b'{"readings": {"t": 1, "t": 2}}', "key 't' is there twice"),
        (b'{"readings": {"t": "\\ud800"}}', "surrogate"),
        (b"[1]", r"expected a JSON object, got \[1\]"),
        (b"{}", "payload: readings is missing"),
        (b'{"readings": 7}', "field readings: expected an object, got 7"),
        (
            b'{"readings": {"temperature": ["abc"]}}',
            r"field readings.temperature: expected null, true or false, an integer, a number "
            r"or text, got \['abc'\]",
        ),
        (b'{"readings": {}, "timestamp": "noon"}', "field timestamp: 'noon' is no RFC 3339 time"),
        (b'{"readings": {}, "colour": 1}', "'colour' is not in the schema, which has device_id"),
        (b'{"readings": {}, "timestamp": 99999999999999999}', "beyond the year 9999"),
        (b'{"readings": {"t": 12345678901234567890}}', None),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 32"),
        (b"9" * 5000, "not JSON"),
    ],
)
def test_what_breaks_the_schema_is_told_in_words(payload: bytes, reason: str | None) -> None:
    if reason is None:
        CODEC.decode(payload, schema_id="reading.v1")  # a number too large for a long is a double
        return
    with pytest.raises(InvalidPayload, match=reason):
        CODEC.decode(payload, schema_id="reading.v1")


def test_a_number_field_says_what_it_expected() -> None:
    check = compile_schema(
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "temperature", "type": ["null", "double"], "default": None}],
        }
    )
    check({"temperature": 3})
    with pytest.raises(InvalidPayload, match="field temperature: expected null or a number"):
        check({"temperature": "abc"})


def test_without_a_schema_any_object_will_do() -> None:
    decoded = CODEC.decode(b'{"a": [1, {"b": null}], "message_id": 7}')
    assert decoded.schema_id is None
    assert decoded.message_id == "7"
    assert decoded.json == '{"a": [1, {"b": null}], "message_id": 7}'


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_depth_is_bounded() -> None:
    CODEC.decode(nested(MAXIMUM_DEPTH))
    with pytest.raises(InvalidPayload, match="nested deeper"):
        CODEC.decode(nested(MAXIMUM_DEPTH + 1))


@pytest.mark.parametrize(
    ("payload", "is_distinct", "timestamp"),
    [
        (b'{"t": 1}', False, None),
        (b'{"t": 1, "message_id": "m"}', True, None),
        (b'{"t": 1, "message_id": ""}', False, None),
        (b'{"t": 1, "timestamp": 1769860800.5}', True, None),
        (b'{"t": 1, "timestamp": 1e30}', True, None),
        (b'{"t": 1, "timestamp": "noon"}', False, None),
        (b'{"t": 1, "timestamp": "2026-01-31T12:00:00Z"}', True, READING["timestamp"]),
        (b'{"t": 1, "timestamp": "2026-01-31T13:00:00+01:00"}', True, READING["timestamp"]),
    ],
)
def test_its_own_id_or_time_makes_a_payload_distinct(
    payload: bytes, is_distinct: bool, timestamp: datetime | None
) -> None:
    decoded = CODEC.decode(payload)
    assert (decoded.is_distinct, decoded.timestamp) == (is_distinct, timestamp)


def test_the_schema_s_number_is_milliseconds_since_the_epoch() -> None:
    decoded = CODEC.decode(b'{"readings": {}, "timestamp": 1769860800000}', schema_id="reading.v1")
    assert decoded.timestamp == READING["timestamp"]


def test_the_single_object_encoding_names_its_schema() -> None:
    payload = CODEC.encode(READING, "reading.v1", "avro")
    # The CRC-64-AVRO fingerprint of the schema, little-endian, behind the marker.
    assert payload.startswith(bytes.fromhex("c301" + "1621e05069778f76"))
    decoded = CODEC.decode(payload, content_type="application/avro")
    assert decoded.schema_id == "reading.v1"
    assert decoded.timestamp == READING["timestamp"]
    assert json.loads(decoded.json)["timestamp"] == "2026-01-31T12:00:00.000Z"


def test_avro_that_is_cut_or_too_long_is_refused() -> None:
    body = CODEC.encode(READING, "reading.v1", "avro")[10:]
    decoded = CODEC.decode(body, schema_id="reading.v1", content_type="avro/binary")
    assert decoded.timestamp == READING["timestamp"]
    for wrong in (body[:-3], body + b"\0"):
        with pytest.raises(InvalidPayload):
            CODEC.decode(wrong, schema_id="reading.v1", content_type="avro/binary")


def test_an_unknown_schema_is_the_sender_s_fault_or_the_setting_s() -> None:
    with pytest.raises(InvalidPayload, match="schema id 'x' is unknown"):
        CODEC.decode(b"{}", schema_id="x")
    with pytest.raises(UnknownSchema, match="no schema 'x'"):
        Codec.packaged(default_schema_id="x")
