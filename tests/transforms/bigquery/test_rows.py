from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from schemas.tables import Field, FieldType, Mode
from transforms.bigquery.rows import MAXIMUM_REQUEST_BYTES, InvalidRow, RowWriter
from transforms.errors import InvalidSetting


def write(kind: FieldType, value: Any, mode: Mode = "NULLABLE") -> Any:
    """Write one column's value and return what protobuf reads back."""
    writer = RowWriter([Field(name="c", type=kind, mode=mode)])
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="f", syntax="proto2")
    file.message_type.add().CopyFrom(writer.descriptor)
    pool.Add(file)
    message: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("Row"))()
    message.ParseFromString(writer.serialize({"c": value}))
    return message.c if mode != "REPEATED" else list(message.c)


@pytest.mark.parametrize(
    ("kind", "value", "wire"),
    [
        ("STRING", "ü\0", "ü\0"),
        ("BYTES", b"\xff", b"\xff"),
        ("INT64", -(2**63), -(2**63)),
        ("FLOAT64", 1, 1.0),
        ("BOOL", False, False),
        ("TIMESTAMP", datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), 1_000_005),
        ("TIMESTAMP", "1969-12-31T23:59:59.9Z", -100_000),
        ("DATE", date(1970, 1, 2), 1),
        ("DATE", "1969-12-31", -1),
        ("TIME", time(12, 30), "12:30:00"),
        ("DATETIME", datetime(2026, 1, 31, 12), "2026-01-31 12:00:00"),
        ("NUMERIC", Decimal("-1E+2"), "-100"),
        ("NUMERIC", "0.000000001", "0.000000001"),
        ("BIGNUMERIC", 10**37, str(10**37)),
        ("JSON", {"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
        ("JSON", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_a_value_reaches_the_wire_as_the_service_wants_it(
    kind: FieldType, value: Any, wire: Any
) -> None:
    assert write(kind, value) == wire


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("STRING", 1, "expected text, got 1"),
        ("STRING", "\ud800", "not valid Unicode"),
        ("BYTES", "text", "expected bytes"),
        ("INT64", True, "expected an integer"),
        ("INT64", 2**63, "does not fit 64 bits"),
        ("FLOAT64", "1.5", "expected a number"),
        ("FLOAT64", 10**400, "does not fit a float"),
        ("BOOL", 1, "expected true or false"),
        ("TIMESTAMP", "noon", "RFC 3339"),
        ("TIMESTAMP", datetime(2026, 1, 31), "time with its zone"),
        ("DATE", datetime(2026, 1, 31, tzinfo=UTC), "expected a date"),
        ("NUMERIC", "abc", "decimal number"),
        ("NUMERIC", "NaN", "decimal number"),
        ("NUMERIC", Decimal("1E-10"), "does not fit 29 digits before the point and 9 behind"),
        ("NUMERIC", 10**29, "does not fit"),
        ("JSON", "{", "Expecting"),
        ("JSON", "NaN", "NaN is no JSON number"),
        ("JSON", {"a": float("inf")}, "JSON compliant"),
    ],
)
def test_a_value_the_column_can_t_take_is_named(kind: FieldType, value: Any, reason: str) -> None:
    with pytest.raises(InvalidRow, match=f"column c: .*{reason}"):
        write(kind, value)


def test_repeated_columns_are_lists() -> None:
    assert write("INT64", [1, 2], "REPEATED") == [1, 2]
    with pytest.raises(InvalidRow, match="expected a list"):
        write("INT64", 1, "REPEATED")


def test_required_and_unknown_columns_are_named() -> None:
    writer = RowWriter([Field(name="a", type="INT64", mode="REQUIRED")])
    with pytest.raises(InvalidRow, match="column a is required"):
        writer.serialize({"a": None})
    with pytest.raises(InvalidRow, match="column b is not in the table, which has a"):
        writer.serialize({"a": 1, "b": 2})


def test_a_row_larger_than_a_request_is_refused() -> None:
    with pytest.raises(InvalidRow, match="bytes"):
        write("BYTES", b"x" * MAXIMUM_REQUEST_BYTES)


def test_a_column_protobuf_can_t_name_is_a_setting_at_fault() -> None:
    with pytest.raises(InvalidSetting, match="'a b'"):
        RowWriter([Field(name="a b", type="INT64")])
