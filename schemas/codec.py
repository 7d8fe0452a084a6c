"""Payload bytes to records by schema id, and back.

A schema id is the name of its file without `.avsc`, with its version: `reading.v1`. The
content type says how the bytes are to be read: `application/avro` (or `avro/binary`) as Avro,
schemaless or in Avro's single-object encoding, everything else as JSON. JSON is taken
strictly: UTF-8, no NaN, no key twice, no number that is infinite, bounded in depth.
"""

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, Self

import fastavro

from schemas.errors import InvalidPayload, UnknownSchema
from schemas.times import format_time, parse_time
from schemas.validation import Check, compile_schema, show

MAXIMUM_DEPTH = 32
"""How deep a record may be nested; BigQuery's JSON ends at 500."""

AVRO_CONTENT_TYPES = ("application/avro", "avro/binary", "application/vnd.apache.avro+binary")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# [Avro 1.12 specification, single-object encoding]
_SINGLE_OBJECT_MARKER = b"\xc3\x01"
_SINGLE_OBJECT_HEADER_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A payload as a record.

    `json` is the record as JSON text. `message_id` is the record's own, None if it has none;
    `timestamp` its own time where that can be read. `is_distinct` says whether two equal
    payloads are one message: the record holds an id or a time.
    """

    record: Mapping[str, Any]
    json: str
    schema_id: str | None
    message_id: str | None
    timestamp: datetime | None
    is_distinct: bool


@dataclass(frozen=True, slots=True)
class _Schema:
    parsed: Any
    check: Check
    fingerprint: bytes


class Codec:
    """Decodes and encodes by the schemas it was given.

    Args:
      schemas: Avro schemas by id, as `load_schemas` reads them.
      default_schema_id: the schema of payloads that name none; without one they may be any
        JSON object.

    Raises:
      UnknownSchema: the default is not among the schemas.
    """

    def __init__(
        self, schemas: Mapping[str, Mapping[str, Any]], *, default_schema_id: str | None = None
    ) -> None:
        self._schemas = {
            schema_id: _Schema(
                fastavro.parse_schema(dict(schema)), compile_schema(schema), _fingerprint(schema)
            )
            for schema_id, schema in schemas.items()
        }
        self._ids_by_fingerprint = {
            schema.fingerprint: schema_id for schema_id, schema in self._schemas.items()
        }
        if default_schema_id is not None:
            self._find(default_schema_id)
        self._default_schema_id = default_schema_id

    @classmethod
    def packaged(cls, *, default_schema_id: str | None = None) -> Self:
        """Return a codec for the schemas in this package."""
        return cls(load_schemas(), default_schema_id=default_schema_id)

    def decode(
        self, payload: bytes, *, schema_id: str | None = None, content_type: str | None = None
    ) -> Decoded:
        """Read a payload; raises InvalidPayload that says what is wrong and where."""
        if not payload:
            raise InvalidPayload("payload is empty: expected a record")
        schema_id = schema_id or self._default_schema_id
        if schema_id is not None and schema_id not in self._schemas:
            raise InvalidPayload(
                f"schema id {show(schema_id)} is unknown: there is {', '.join(self._schemas)}"
            )
        kind = (content_type or "").partition(";")[0].strip().lower()
        if kind in AVRO_CONTENT_TYPES:
            return self._decode_avro(payload, schema_id)
        record, text = parse_json_object(payload)
        if schema_id is not None:
            self._schemas[schema_id].check(record)
        return _decoded(record, text, schema_id)

    def encode(
        self, record: Mapping[str, Any], schema_id: str, encoding: Literal["json", "avro"] = "json"
    ) -> bytes:
        """Write a record, its times as datetimes; Avro in the single-object encoding.

        Raises InvalidPayload for a record that breaks its schema and UnknownSchema.
        """
        schema = self._find(schema_id)
        schema.check(dict(record))
        if encoding == "json":
            return _to_json(record).encode()
        body = io.BytesIO()
        try:
            fastavro.schemaless_writer(body, schema.parsed, record)
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidPayload(f"Avro can't hold the record: {error}") from None
        return _SINGLE_OBJECT_MARKER + schema.fingerprint + body.getvalue()

    def _find(self, schema_id: str) -> _Schema:
        try:
            return self._schemas[schema_id]
        except KeyError:
            known = ", ".join(self._schemas)
            raise UnknownSchema(f"no schema {schema_id!r}: there is {known}") from None

    def _decode_avro(self, payload: bytes, schema_id: str | None) -> Decoded:
        if payload.startswith(_SINGLE_OBJECT_MARKER):
            fingerprint = payload[2:_SINGLE_OBJECT_HEADER_BYTES]
            written = self._ids_by_fingerprint.get(fingerprint)
            if written is None:
                raise InvalidPayload(f"Avro fingerprint {fingerprint.hex()} is of no known schema")
            if schema_id is not None and written != schema_id:
                raise InvalidPayload(f"payload is of schema {written}, not of {schema_id}")
            schema_id, payload = written, payload[_SINGLE_OBJECT_HEADER_BYTES:]
        if schema_id is None:
            raise InvalidPayload("Avro without a schema id can't be read")
        schema = self._schemas[schema_id]
        source = io.BytesIO(payload)
        try:
            record = fastavro.schemaless_reader(source, schema.parsed, None)
        except Exception as error:  # noqa: BLE001  # fastavro raises whatever bad bytes lead it into
            raise InvalidPayload(
                f"payload is no Avro record of {schema_id}: {error!r} at byte {source.tell()}"
            ) from None
        if left := len(payload) - source.tell():
            raise InvalidPayload(f"{left} bytes are left behind the Avro record of {schema_id}")
        assert isinstance(record, dict)  # schemas are records
        schema.check(record)
        return _decoded(record, _to_json(record), schema_id)


def load_schemas(folder: Traversable | None = None) -> dict[str, dict[str, Any]]:
    """Read the `*.avsc` of a folder, by default this package's, by schema id."""
    folder = folder or resources.files("schemas") / "avro"
    return {
        file.name.removesuffix(".avsc"): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".avsc")
    }


def parse_json_object(payload: bytes) -> tuple[dict[str, Any], str]:
    """Read strict JSON that is an object; returns it and its text. Raises InvalidPayload."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidPayload(
            f"payload is not valid UTF-8: byte 0x{payload[error.start]:02x} at {error.start}"
        ) from None
    try:
        record = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise InvalidPayload(
            f"payload is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidPayload(f"payload is nested deeper than {MAXIMUM_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidPayload(f"payload is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InvalidPayload(f"payload: expected a JSON object, got {show(record)}")
    # Only a payload with that many brackets can be too deep.
    if payload.count(b"{") + payload.count(b"[") > MAXIMUM_DEPTH:
        _check_depth(record)
    if "\\u" in text:
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InvalidPayload("payload holds half of a Unicode surrogate pair") from None
    return record, text


def _decoded(record: dict[str, Any], text: str, schema_id: str | None) -> Decoded:
    message_id = record.get("message_id")
    if isinstance(message_id, int) and not isinstance(message_id, bool):
        message_id = str(message_id)
    if not isinstance(message_id, str):
        message_id = None
    given = record.get("timestamp")
    timestamp = None
    if isinstance(given, datetime):
        timestamp = given
    elif isinstance(given, str):
        try:
            timestamp = parse_time(given)
        except ValueError:
            given = None  # a record without a schema may call anything a time
    elif not isinstance(given, int | float) or isinstance(given, bool) or given <= 0:
        given = None
    elif schema_id is not None:
        timestamp = _from_milliseconds(given)
    return Decoded(
        record=record,
        json=text,
        schema_id=schema_id,
        message_id=message_id or None,
        timestamp=timestamp,
        is_distinct=bool(message_id) or given is not None,
    )


def _from_milliseconds(milliseconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise InvalidPayload(
            f"field timestamp: {milliseconds} ms since the epoch is beyond the year 9999"
        ) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {show(twice)} is there twice")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number {show(text)} is too large")
    return number


def _check_depth(record: dict[str, Any]) -> None:
    level: list[Any] = [record]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise InvalidPayload(f"payload is nested deeper than {MAXIMUM_DEPTH} levels")


def _to_json(record: Mapping[str, Any]) -> str:
    return json.dumps(
        record, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )


def _plain(value: Any) -> str:
    match value:
        case datetime():
            return format_time(value)
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            raise TypeError(f"{show(value)} has no place in JSON")


def _fingerprint(schema: Mapping[str, Any]) -> bytes:
    # In hexadecimal and, as the single-object encoding has it, little-endian.
    canonical = fastavro.schema.to_parsing_canonical_form(dict(schema))
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
