"""A registry file's text as its entries, so that only those are read whose text is another one.

Nearly all files have ``devices:`` and ``services:`` in lines of their own, and each entry begins in
a line with the same indentation. A text is cut there. What makes a cut wrong (a quote that spans
entries, a complex key) shows in the number of keys that the parts have together, and the file is
then read as a whole. So it is where an entry depends on another (aliases), and where anything is
wrong, for the error must tell the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from broker.registry.entries import Entry
from broker.yaml_loading import Unusual, load, load_usual

_TOP = re.compile(r"^[^ #\n].*$", re.MULTILINE)
_HEADER = re.compile(r"(devices|services):[ ]*(?:#.*)?")
_KEY = re.compile(r"[A-Za-z_]+:(?: .*)?")
_FIRST = re.compile(r"^( *)[^ #\n]", re.MULTILINE)
_OTHER_SPACES = "\r\t\x85\u2028\u2029\ufeff"
"""Line breaks of YAML beside the usual one, and what may stand in the place of spaces."""

Place = tuple[str, str]
"""A section and an entry's text there."""


@dataclass(repr=False)
class ReadEntries:
    """What was read of a file before. ``parse`` a text, then ask for what is ``known`` of it.

    ``keep`` what is read of it now; ``settle`` when all of it was right.
    """

    _before: dict[Place, Entry] = field(default_factory=dict)
    _now: dict[Place, Entry] = field(default_factory=dict)
    _places: dict[tuple[str, str], Place] = field(default_factory=dict)

    def parse(self, text: str) -> Any:
        """The values of a text; None for each entry that is ``known``. Raises YAMLError."""
        self._now = {}
        self._places = {}
        try:
            return self._parse_parts(text.replace("\r\n", "\n"))
        except Unusual:
            self._places = {}
            return load(text)

    def known(self, section: str, name: str) -> Entry | None:
        """The entry of that name if its text is the same as before."""
        place = self._places.get((section, name))
        return None if place is None else self._before.get(place)

    def keep(self, section: str, entry: Entry) -> None:
        """This is what is read of its text, and of nothing besides."""
        place = self._places.get((section, entry.name))
        if place is not None:
            self._now[place] = entry

    def settle(self) -> None:
        """What was kept is what is known from now on."""
        self._before = self._now

    def _parse_parts(self, text: str) -> Any:
        rest, sections = split(text)
        values = load_usual(rest)
        if sections and not isinstance(values, dict):
            raise Unusual
        for section, parts in sections.items():
            if section not in values or values[section] is not None:
                raise Unusual
            if parts:
                values[section] = self._entries(section, parts)
        return values

    def _entries(self, section: str, parts: list[str]) -> dict[str, Any]:
        new = [part for part in parts if (section, part) not in self._before]
        parsed = load_usual("".join(new)) if new else {}
        if not isinstance(parsed, dict) or len(parsed) != len(new):
            raise Unusual
        left = iter(parsed.items())
        values: dict[str, Any] = {}
        for part in parts:
            place = (section, part)
            entry = self._before.get(place)
            name, value = next(left) if entry is None else (entry.name, None)
            if name in values:
                raise Unusual
            values[name] = value
            self._places[section, name] = place
        return values


def split(text: str) -> tuple[str, dict[str, list[str]]]:
    """The text without its entries, and the texts of these, in their order, by section.

    Raises:
      Unusual: it is of another form.
    """
    if any(each in text for each in _OTHER_SPACES):
        raise Unusual
    rest: list[str] = []
    sections: dict[str, list[str]] = {}
    tops = list(_TOP.finditer(text))
    at = 0
    for index, top in enumerate(tops):
        header = _HEADER.fullmatch(top[0])
        if header is None:
            if not _KEY.fullmatch(top[0]) and (index or top[0] != "---"):
                raise Unusual
            continue
        if header[1] in sections:
            raise Unusual
        begin = min(top.end() + 1, len(text))
        end = tops[index + 1].start() if index + 1 < len(tops) else len(text)
        rest.append(text[at:begin])
        sections[header[1]] = _parts(text[begin:end])
        at = end
    rest.append(text[at:])
    return "".join(rest), sections


def _parts(body: str) -> list[str]:
    first = _FIRST.search(body)
    if first is None:
        return []
    indentation = len(first[1])
    if re.search(rf"^ {{1,{indentation - 1}}}[^ #\n]", body, re.MULTILINE) and indentation > 1:
        raise Unusual
    begins = [found.start() for found in re.finditer(rf"^ {{{indentation}}}[^ #\n]", body, re.M)]
    ends = [*begins[1:], len(body)]
    return [body[begin:end] for begin, end in zip(begins, ends, strict=True)]
