"""Terraform's files as they are written: read without Terraform, references found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

_META = {"count", "depends_on", "dynamic", "for_each", "lifecycle", "provider", "source", "version"}
"""Of Terraform itself; no argument of a resource or a module."""

_INTERPOLATION = re.compile(r"\$\{([^{}]*)\}")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, kw_only=True)
class Block:
    """A resource, a data source or a call of a module, with its arguments."""

    type: str
    name: str
    body: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """What is set, Terraform's own aside; nested blocks among it, dynamic ones too."""
        result = {name: value for name, value in self.body.items() if name not in _META}
        for dynamic in self.body.get("dynamic", ()):
            for name, body in named(dynamic):
                result.setdefault(name, []).extend(body["content"])
        return {name: value for name, value in result.items() if not name.startswith("__")}


@dataclass(frozen=True, kw_only=True)
class Module:
    """All files of a folder."""

    folder: Path
    variables: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    locals: dict[str, Any]
    resources: tuple[Block, ...]
    data: tuple[Block, ...]
    calls: tuple[Block, ...]
    expressions: tuple[str, ...]

    def required(self) -> set[str]:
        """The variables that must be given."""
        return {name for name, body in self.variables.items() if "default" not in body}

    def references(self) -> set[tuple[str, ...]]:
        """What its expressions refer to, as ("var", NAME), ("module", NAME, OUTPUT), …"""
        found: set[tuple[str, ...]] = set()
        for text in self.expressions:
            bare = _TEXT.sub("", text)
            found |= {("var", name) for name in re.findall(r"(?<![\w.])var\.(\w+)", bare)}
            found |= {("local", name) for name in re.findall(r"(?<![\w.])local\.(\w+)", bare)}
            found |= {
                ("module", *names)
                for names in re.findall(r"(?<![\w.])module\.(\w+)(?:\[[^\]]*\])?\.(\w+)", bare)
            }
            found |= {
                ("data", *names) for names in re.findall(r"(?<![\w.])data\.(\w+)\.(\w+)", bare)
            }
            found |= {
                ("resource", *names)
                for names in re.findall(
                    r"(?<![\w.])(google_\w+)\.(\w+)(?:\[[^\]]*\])?(?:\.(\w+))?", bare
                )
            }
        return found


@cache
def read(folder: Path) -> Module:
    """Reads a folder's files. Raises the parser's error."""
    files = [hcl2.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.tf"))]

    def all_of(kind: str) -> list[dict[str, Any]]:
        return [each for file in files for each in file.get(kind, ())]

    def labelled(kind: str) -> tuple[Block, ...]:
        return tuple(
            Block(type=type_, name=name, body=body)
            for each in all_of(kind)
            for type_, inner in named(each)
            for name, body in named(inner)
        )

    return Module(
        folder=folder,
        variables={name: body for each in all_of("variable") for name, body in named(each)},
        outputs={name: body for each in all_of("output") for name, body in named(each)},
        locals={name: value for each in all_of("locals") for name, value in named(each)},
        resources=labelled("resource"),
        data=labelled("data"),
        calls=tuple(
            Block(type="module", name=name, body=body)
            for each in all_of("module")
            for name, body in named(each)
        ),
        expressions=tuple(_expressions(files)),
    )


def named(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Gives what stands in a block, by its name."""
    for name, value in body.items():
        if not name.startswith("__"):
            yield name.strip('"'), value


def text_of(value: Any) -> str | None:
    """Returns a value that is a text without anything to be filled in, else None."""
    if isinstance(value, str) and value.startswith('"') and "${" not in value:
        return value[1:-1]
    return None


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _expressions(key)
            yield from _expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, str):
        if value.startswith("${"):
            yield value[2:-1]
        # Texts within an expression, and texts that are the whole of one.
        yield from (found[1] for found in _INTERPOLATION.finditer(value))
