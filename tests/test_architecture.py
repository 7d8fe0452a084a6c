"""Who may import whom, and that public names say what they are (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "mqtt": set[str](),
    "schemas": {"mqtt"},
    "transforms": {"mqtt", "schemas"},
    "pipelines": {"mqtt", "schemas", "transforms"},
    "templates": {"mqtt", "schemas", "transforms", "pipelines"},
    "broker": {"mqtt", "schemas"},
    "localcloud": {"mqtt", "schemas", "transforms", "pipelines", "templates", "broker", "cli"},
    "cli": {"mqtt", "schemas", "transforms", "pipelines", "templates", "broker", "localcloud"},
}
ROOMS = set(MAY_IMPORT)
OUTSIDE = {"tests", "bench"}

# Beyond the standard library: what a room must do without, and what it alone may use of Google's.
FORBIDDEN = {
    "mqtt": {"apache_beam", "google", "grpc", "sqlalchemy", "paho"},
    "schemas": {"apache_beam", "google", "grpc", "sqlalchemy", "paho"},
    "broker": {"apache_beam", "google", "grpc", "paho"},
    "transforms": {"paho", "sqlalchemy", "psutil", "rich", "typer"},
    "pipelines": {"paho", "sqlalchemy", "psutil", "rich", "typer"},
}
# The core decides; sockets, loops and clocks are its shell's.
PURE = {"broker/core": {"asyncio", "socket", "ssl", "time", "threading", "sqlite3"}}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The first part of every name imported, wherever in the file, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: name the whole module"
            assert node.module is not None
            yield node.module.partition(".")[0], node.lineno


def violations(folder: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(folder)
        for name, line in imported(path)
        if name in forbidden
    ]


def test_every_package_is_a_room() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - OUTSIDE == ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert modules(room)
    assert violations(room, (ROOMS | OUTSIDE) - MAY_IMPORT[room] - {room}) == []


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room_does_without(room: str) -> None:
    assert violations(room, FORBIDDEN[room]) == []


@pytest.mark.parametrize("folder", sorted(PURE))
def test_a_pure_core_has_no_shell(folder: str) -> None:
    assert modules(folder)
    assert violations(folder, PURE[folder]) == []


def test_no_room_is_named_like_a_module_of_the_standard_library() -> None:
    assert not ROOMS & sys.stdlib_module_names


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_public_names_are_documented(room: str) -> None:
    """ruff asks for docstrings of modules, classes and functions; here, of exported names."""
    missing = []
    for path in modules(room):
        tree = ast.parse(path.read_text())
        if tree.body and path.name != "__init__.py" and ast.get_docstring(tree) is None:
            missing.append(str(path.relative_to(ROOT)))
        missing += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ]
    assert missing == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_what_a_package_exports_is_there_and_in_order(room: str) -> None:
    for path in modules(room):
        tree = ast.parse(path.read_text())
        names = _exported(tree)
        if names is None:
            continue
        defined = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom | ast.Import)
            for alias in node.names
        } | {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        assert set(names) <= defined, path
        assert names == sorted(names, key=lambda name: (not name.isupper(), name)), path


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "__all__"
        ):
            value = ast.literal_eval(node.value)
            assert isinstance(value, list | tuple)
            return list(value)
    return None
