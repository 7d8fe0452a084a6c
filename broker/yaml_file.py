"""YAML files read strictly: a key twice, a key unknown or a value of the wrong kind is an error.

Every error names the file, the key with its path, the value, and what would be right. Values are
never shown where the key says that they are secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from broker.yaml_loading import load
from schemas.times import parse_time

Value = TypeVar("Value")

_KINDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")
_LONGEST_WRITTEN = 1e15


def checked_path(folder: Path, name: str) -> Path:
    """The path of a file that is named in a file of ``folder``. Raises ValueError."""
    if "\0" in name:
        raise ValueError(f"is {name!r}; the name of a file holds no NUL character")
    return folder / name


class Section:
    """One mapping of a file. ``take`` its keys, then ``finish``, which refuses what is left.

    ``error`` is the exception class that every complaint is raised as. ``complaints``: of the
    whole file, those that ``attempt`` kept. ``known``: the keys that were asked for.
    """

    def __init__(
        self, values: dict[str, Any], *, path: str, where: str, error: type[Exception]
    ) -> None:
        self._left = dict(values)
        self.known: list[str] = []
        self._path = path
        self._where = where
        self._error = error
        self.complaints: list[str] = []

    @classmethod
    def load(
        cls, path: Path, error: type[Exception], *, parse: Callable[[str], Any] = load
    ) -> Section:
        """Reads a whole file; its top level must be a mapping.

        ``parse``: what makes values of its text; may raise YAMLError.
        """
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise error(f"{path}: cannot be read: {problem.strerror}") from problem
        try:
            values = parse(data.decode())
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise error(f"{path}: {_told(problem, data)}") from problem
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise error(f"{path}: the top level must be a mapping of keys to values")
        return cls(values, path="", where=str(path), error=error)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def names(self) -> list[str]:
        """The keys that are left."""
        return list(self._left)

    def name(self, key: str) -> str:
        """The key with its path, as errors write it."""
        return f"{self._path}.{key}" if self._path else key

    def fail(self, key: str, complaint: str) -> Exception:
        """The error for a key; the caller raises it."""
        return self._error(f"{self._where}: {self.name(key)}: {complaint}")

    def take(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """The value of ``key``, which must be of ``kind``; without a default it must be there."""
        self.known.append(key)
        if key not in self._left:
            if default is None:
                raise self.fail(key, f"is missing; it must be {_KINDS[kind]}")
            return default
        return self._checked(key, self._left.pop(key), kind)

    def take_optional(self, key: str, kind: type[Value]) -> Value | None:
        """The value of ``key``, or None where it is not there or null."""
        self.known.append(key)
        value = self._left.pop(key, None)
        return None if value is None else self._checked(key, value, kind)

    def take_path(self, key: str, folder: Path) -> Path | None:
        """The path that ``key`` names from ``folder``, or None where it is not there."""
        name = self.take_optional(key, str)
        return None if name is None else self.build(key, lambda: checked_path(folder, name))

    def take_time(self, key: str) -> datetime | None:
        """The time under ``key``, in UTC (RFC 3339, in quotes or not), or None without one."""
        self.known.append(key)
        value = self._left.pop(key, None)
        if value is None:
            return None
        if isinstance(value, str):
            return self.build(key, lambda: parse_time(value))
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.fail(key, f"is {value}; it must be a time such as 2026-12-31T00:00:00Z")
        return value.astimezone(UTC)

    def section(self, key: str) -> Section:
        """The mapping under ``key``; an empty one where there is none."""
        return self._inner(key, self.take(key, dict, {}))

    def sections(self, key: str) -> list[Section]:
        """The list of mappings under ``key``."""
        items = self.take(key, list, [])
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                raise self.fail(f"{key}[{index}]", f"is {item!r}; it must be a mapping")
        return [self._inner(f"{key}[{index}]", item) for index, item in enumerate(items)]

    def texts(self, key: str) -> list[str]:
        """The list of texts under ``key``; an empty one where there is none."""
        items = self.take(key, list, [])
        return [self._checked(f"{key}[{i}]", item, str) for i, item in enumerate(items)]

    def build(self, key: str, make: Callable[[], Value]) -> Value:
        """Calls ``make``; a ValueError of its is reported for ``key``."""
        try:
            return make()
        except ValueError as problem:
            # The key's name is told once.
            raise self.fail(key, str(problem).removeprefix(f"{key} ")) from problem

    def attempt(self, make: Callable[[], Value], otherwise: Value) -> Value:
        """Calls ``make``; its complaint is kept in ``complaints``, and ``otherwise`` returned."""
        try:
            return make()
        except self._error as problem:
            self.complaints.append(str(problem))
            return otherwise

    def finish(self) -> None:
        """Refuses keys that nobody took."""
        for key in self._left:
            raise self.fail(key, f"is not known here; known are: {_listed(self.known)}")

    def _inner(self, key: str, values: dict[str, Any]) -> Section:
        inner = Section(values, path=self.name(key), where=self._where, error=self._error)
        inner.complaints = self.complaints
        return inner

    def _checked(self, key: str, value: Any, kind: type[Value]) -> Value:
        if type(value) is kind:
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                raise self.fail(key, "is too large for a number") from None
        if kind in (int, float) and isinstance(value, str) and _EXPONENT.fullmatch(value):
            raise self.fail(
                key, f"is {value!r}, which is text in YAML 1.1; {_as_number(value, kind)}"
            )
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
            raise self.fail(key, f"is {value!r}; it must be {_KINDS[kind]}")
        return value


def _as_number(text: str, kind: type) -> str:
    """What to write for a number with an exponent: YAML 1.1 wants its point and its sign."""
    mantissa, exponent = text.lower().split("e")
    point = mantissa if "." in mantissa else f"{mantissa}.0"
    sign = exponent if exponent[0] in "+-" else f"+{exponent}"
    written, number = f"{point}e{sign}", float(text)
    whole = f"{number:.0f}" if number.is_integer() and abs(number) < _LONGEST_WRITTEN else ""
    if kind is int:
        return f"write {whole}" if whole else f"it must be {_KINDS[int]}"
    return f"write {written} or {whole}" if whole else f"write {written}"


def _told(problem: yaml.YAMLError | UnicodeDecodeError, data: bytes) -> str:
    """One sentence with line and column, both counted from 1."""
    if isinstance(problem, UnicodeDecodeError):
        return f"{_place(data[: problem.start])}: not valid UTF-8; save the file as UTF-8"
    if isinstance(problem, yaml.reader.ReaderError):
        place, words = _place(data[: problem.position]), problem.reason
    elif isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark is not None:
        mark = problem.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}"
        words = " ".join(filter(None, (problem.context, problem.problem)))
    else:
        place, words = "somewhere", " ".join(str(problem).split())
    return f"{place}: not valid YAML: {words}"


def _place(before: bytes) -> str:
    """Where the text goes on behind these bytes."""
    *lines, last = before.split(b"\n")
    return f"line {len(lines) + 1}, column {len(last.decode(errors='replace')) + 1}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
