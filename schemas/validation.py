"""Checks values that came from JSON, or from Avro bytes, against an Avro schema.

JSON here is the plain one that devices send, not Avro's JSON encoding: a union's value stands
bare, a `bytes` is base64 text and a timestamp RFC 3339 text or a number since the epoch. What
the schema does not name is refused.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from schemas.errors import InvalidPayload
from schemas.times import parse_time

Check = Callable[[Any], None]

_RANGES = {"int": 31, "long": 63}
_WORDS = {
    "null": "null",
    "boolean": "true or false",
    "int": "an integer",
    "long": "an integer",
    "float": "a number",
    "double": "a number",
    "string": "text",
    "bytes": "bytes as base64 text",
    "array": "a list",
    "map": "an object",
    "record": "an object",
    "enum": "a symbol",
    "timestamp": "an RFC 3339 time",
}
# What json.loads and fastavro make of each kind; bool is no int here.
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "string": (str,),
    "bytes": (bytes, str),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "enum": (str,),
    "timestamp": (str, int, datetime),
}
_TIME_LOGICAL_TYPES = ("timestamp-millis", "timestamp-micros")


class _Mismatch(Exception):
    """A value that is not what its schema says; `path` leads to it, innermost first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []

    def __str__(self) -> str:
        path = ".".join(reversed(self.path))
        return f"field {path}: {self.args[0]}" if path else f"payload: {self.args[0]}"


def compile_schema(schema: Mapping[str, Any]) -> Check:
    """Return a function that raises InvalidPayload for a value that breaks the schema.

    Raises ValueError for a schema with a type that is not supported (fixed).
    """
    check = _compile(schema, {})

    def check_value(value: Any) -> None:
        try:
            check(value)
        except _Mismatch as mismatch:
            raise InvalidPayload(str(mismatch)) from None

    return check_value


def _compile(schema: Any, named: dict[str, Check]) -> Check:
    if isinstance(schema, list):
        return _union(schema, named)
    if isinstance(schema, str):
        return named[schema] if schema in named else _primitive(schema)
    kind = schema["type"]
    if schema.get("logicalType") in _TIME_LOGICAL_TYPES:
        return _timestamp
    match kind:
        case "record":
            return _record(schema, named)
        case "map":
            return _map(_compile(schema["values"], named))
        case "array":
            return _array(_compile(schema["items"], named))
        case "enum":
            check = _enum(schema["symbols"])
            _name(schema, named, check)
            return check
        case _:
            return _compile(kind, named)


def _name(schema: Mapping[str, Any], named: dict[str, Check], check: Check) -> None:
    named[schema["name"]] = check
    if "namespace" in schema:
        named[f"{schema['namespace']}.{schema['name']}"] = check


def _record(schema: Mapping[str, Any], named: dict[str, Check]) -> Check:
    # A record may hold itself: the check is named before its fields are compiled.
    checks: dict[str, Check] = {}
    required: set[str] = set()

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise _Mismatch(f"expected an object, got {show(value)}")
        for name, inner in value.items():
            if name not in checks:
                raise _Mismatch(f"{name!r} is not in the schema, which has {', '.join(checks)}")
            try:
                checks[name](inner)
            except _Mismatch as mismatch:
                mismatch.path.append(name)
                raise
        if not required <= value.keys():
            raise _Mismatch(f"{', '.join(sorted(required - value.keys()))} is missing")

    _name(schema, named, check)
    for field in schema["fields"]:
        checks[field["name"]] = _compile(field["type"], named)
        if "default" not in field:
            required.add(field["name"])
    return check


def _map(check_value: Check) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise _Mismatch(f"expected an object, got {show(value)}")
        for key, inner in value.items():
            try:
                check_value(inner)
            except _Mismatch as mismatch:
                mismatch.path.append(key)
                raise

    return check


def _array(check_item: Check) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise _Mismatch(f"expected a list, got {show(value)}")
        for index, inner in enumerate(value):
            try:
                check_item(inner)
            except _Mismatch as mismatch:
                mismatch.path.append(str(index))
                raise

    return check


def _enum(symbols: list[str]) -> Check:
    def check(value: Any) -> None:
        if value not in symbols:
            raise _Mismatch(f"expected one of {', '.join(symbols)}, got {show(value)}")

    return check


def _union(branches: list[Any], named: dict[str, Check]) -> Check:
    by_type: dict[type, list[Check]] = {}
    words: list[str] = []
    for branch in branches:
        check_branch = _compile(branch, named)
        kind = _kind(branch)
        words.append(_WORDS[kind])
        for python_type in _PYTHON_TYPES[kind]:
            by_type.setdefault(python_type, []).append(check_branch)
    *first, last = dict.fromkeys(words)
    expected = f"{', '.join(first)} or {last}" if first else last

    def check(value: Any) -> None:
        candidates = by_type.get(type(value))
        if candidates is None:
            raise _Mismatch(f"expected {expected}, got {show(value)}")
        for check_branch in candidates[:-1]:
            try:
                check_branch(value)
            except _Mismatch:
                continue
            return
        candidates[-1](value)

    return check


def _kind(branch: Any) -> str:
    """Return the kind of a schema, one of _WORDS; another schema's name stands for a record."""
    if isinstance(branch, str):
        return branch if branch in _WORDS else "record"
    if branch.get("logicalType") in _TIME_LOGICAL_TYPES:
        return "timestamp"
    kind = branch["type"]
    return kind if isinstance(kind, str) else _kind(kind)


def _primitive(kind: str) -> Check:
    check = _PRIMITIVES.get(kind)
    if check is None:
        raise ValueError(f"schema type {kind!r} is not supported")
    return check


def _null(value: Any) -> None:
    if value is not None:
        raise _Mismatch(f"expected null, got {show(value)}")


def _boolean(value: Any) -> None:
    if not isinstance(value, bool):
        raise _Mismatch(f"expected true or false, got {show(value)}")


def _integer(bits: int) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _Mismatch(f"expected an integer, got {show(value)}")
        if not -(1 << bits) <= value < 1 << bits:
            raise _Mismatch(f"{show(value)} does not fit {bits + 1} bits")

    return check


def _number(value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _Mismatch(f"expected a number, got {show(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False  # an integer beyond the largest float
    if not finite:
        raise _Mismatch(f"expected a number that a double can hold, got {show(value)}")


def _string(value: Any) -> None:
    if not isinstance(value, str):
        raise _Mismatch(f"expected text, got {show(value)}")


def _bytes(value: Any) -> None:
    if isinstance(value, bytes):
        return
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _Mismatch(f"expected bytes as base64 text, got {show(value)}") from None


def _timestamp(value: Any) -> None:
    if isinstance(value, datetime):
        return
    if isinstance(value, str):
        try:
            parse_time(value)
        except ValueError as error:
            raise _Mismatch(str(error)) from None
    elif not isinstance(value, int) or isinstance(value, bool):
        raise _Mismatch(f"expected an RFC 3339 time or an integer, got {show(value)}")


_PRIMITIVES: Mapping[str, Check] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer(_RANGES["int"]),
    "long": _integer(_RANGES["long"]),
    "float": _number,
    "double": _number,
    "string": _string,
    "bytes": _bytes,
}


def show(value: Any) -> str:
    """Show a value for a person, cut where it would bury the message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
