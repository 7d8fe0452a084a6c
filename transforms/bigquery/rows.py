"""Rows as the Storage Write API takes them: checked, then protobuf bytes.

The descriptor is built from the table's columns. Types, from Python to the wire
[cloud.google.com/bigquery/docs/supported-data-types]:

    STRING, GEOGRAPHY    str                                       string
    BYTES                bytes                                     bytes
    INT64                int                                       int64
    FLOAT64              float, int                                double
    BOOL                 bool                                      bool
    TIMESTAMP            aware datetime, RFC 3339 text             int64, microseconds
    DATE                 date, 'YYYY-MM-DD'                        int32, days since the epoch
    TIME, DATETIME       time, naive datetime, ISO 8601 text       string
    NUMERIC, BIGNUMERIC  Decimal, int, decimal text                string
    JSON                 JSON text (str), or what json.dumps takes string

Every row is checked here rather than by the service, which refuses the whole request for
one bad row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from schemas.tables import Field
from schemas.times import parse_time
from transforms.errors import InvalidSetting

# The service takes 10 MB a request, with the schema and some framing [Quotas: AppendRows].
MAXIMUM_REQUEST_BYTES = 9_500_000
MAXIMUM_REQUEST_ROWS = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)

_Proto = descriptor_pb2.FieldDescriptorProto


class InvalidRow(Exception):
    """A row that the table can't take; the message names the column and what is wrong."""


class RowWriter:
    """Checks the rows of one table and turns each into protobuf bytes. Not for pickling."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.descriptor = _descriptor(fields)
        pool = descriptor_pool.DescriptorPool()
        file = descriptor_pb2.FileDescriptorProto(name="row.proto", syntax="proto2")
        file.message_type.add().CopyFrom(self.descriptor)
        pool.Add(file)
        self._message = message_factory.GetMessageClass(pool.FindMessageTypeByName("Row"))
        self._converters = {field.name: _converter(field) for field in fields}
        self._required = frozenset(field.name for field in fields if field.mode == "REQUIRED")

    def serialize(self, row: Mapping[str, Any]) -> bytes:
        """Return the row's bytes; a missing or None value is NULL. Raises InvalidRow."""
        values = {}
        for name, value in row.items():
            convert = self._converters.get(name)
            if convert is None:
                known = ", ".join(self._converters)
                raise InvalidRow(f"column {name} is not in the table, which has {known}")
            if value is not None:
                try:
                    values[name] = convert(value)
                except (TypeError, ValueError, InvalidOperation, RecursionError) as error:
                    raise InvalidRow(f"column {name}: {error}") from None
        if not self._required <= values.keys():
            missing = ", ".join(sorted(self._required - values.keys()))
            raise InvalidRow(f"column {missing} is required and has no value")
        data: bytes = self._message(**values).SerializeToString()
        if len(data) > MAXIMUM_REQUEST_BYTES:
            raise InvalidRow(f"the row has {len(data)} bytes: {MAXIMUM_REQUEST_BYTES} fit")
        return data


def _descriptor(fields: Sequence[Field]) -> descriptor_pb2.DescriptorProto:
    labels = {
        "REQUIRED": _Proto.LABEL_REQUIRED,
        "NULLABLE": _Proto.LABEL_OPTIONAL,
        "REPEATED": _Proto.LABEL_REPEATED,
    }
    message = descriptor_pb2.DescriptorProto(name="Row")
    for number, field in enumerate(fields, 1):
        if not field.name.isidentifier() or not field.name.isascii():
            raise InvalidSetting(f"column {field.name!r} can't be a protobuf field's name")
        message.field.add(
            name=field.name,
            number=number,
            label=labels[field.mode],
            type=_PROTO_TYPES.get(field.type, _Proto.TYPE_STRING),
        )
    return message


def _converter(field: Field) -> Callable[[Any], Any]:
    convert = _CONVERTERS[field.type]
    if field.mode != "REPEATED":
        return convert

    def convert_each(values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):
            raise TypeError(f"expected a list, got {_show(values)}")
        return [convert(value) for value in values]

    return convert_each


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {_show(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{_show(value)} is not valid Unicode text") from None
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, got {_show(value)}")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected an integer, got {_show(value)}")
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{_show(value)} does not fit 64 bits")
    return value


def _float(value: Any) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise TypeError(f"expected a number, got {_show(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{_show(value)} does not fit a float") from None


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {_show(value)}")
    return value


def _timestamp(value: Any) -> int:
    if isinstance(value, str):
        value = parse_time(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"expected a time with its zone, got {_show(value)}")
    return (value - _EPOCH) // _MICROSECOND


def _date(value: Any) -> int:
    if isinstance(value, str):
        value = date.fromisoformat(value)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError(f"expected a date, got {_show(value)}")
    return value.toordinal() - _EPOCH_DAY


def _time(value: Any) -> str:
    if isinstance(value, str):
        value = time.fromisoformat(value)
    if not isinstance(value, time) or value.tzinfo is not None:
        raise TypeError(f"expected a time of day without a zone, got {_show(value)}")
    return value.isoformat()


def _datetime(value: Any) -> str:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise TypeError(f"expected a date and time without a zone, got {_show(value)}")
    return value.isoformat(" ")


def _decimal(digits: int, scale: int) -> Callable[[Any], str]:
    """Return the check of a decimal with so many digits, `scale` of them behind the point."""

    def convert(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
            raise TypeError(f"expected a decimal number, got {_show(value)}")
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise ValueError(f"expected a decimal number, got {_show(value)}") from None
        if not number.is_finite():
            raise ValueError(f"expected a decimal number, got {_show(value)}")
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)  # text only for what is not finite
        if -exponent > scale or number.adjusted() >= digits - scale:
            raise ValueError(
                f"{_show(value)} does not fit {digits - scale} digits before the point "
                f"and {scale} behind it"
            )
        return format(number, "f")

    return convert


def _json(value: Any) -> str:
    if isinstance(value, str):
        json.loads(value, parse_constant=_no_constant)
        return _string(value)
    return _string(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _show(value: Any) -> str:
    """Show a value with its type, cut where it would bury the message."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:80] + '…'} ({type(value).__name__})"


_PROTO_TYPES = {
    "BYTES": _Proto.TYPE_BYTES,
    "INT64": _Proto.TYPE_INT64,
    "FLOAT64": _Proto.TYPE_DOUBLE,
    "BOOL": _Proto.TYPE_BOOL,
    "TIMESTAMP": _Proto.TYPE_INT64,
    "DATE": _Proto.TYPE_INT32,
}

_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "STRING": _string,
    "GEOGRAPHY": _string,
    "BYTES": _bytes,
    "INT64": _integer,
    "FLOAT64": _float,
    "BOOL": _boolean,
    "TIMESTAMP": _timestamp,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _datetime,
    "NUMERIC": _decimal(38, 9),
    # 76.8 digits: the whole part holds 38 safely, and some numbers of 39.
    "BIGNUMERIC": _decimal(76, 38),
    "JSON": _json,
}
