"""What the pages say is held to the code: links, paths, names, commands, code and tables.

README's own commands are run by test_readme, those of docs/local.md by test_local_page.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from docs import generate
from localcloud.bigquery import LocalBigQuery
from localcloud.endpoints import DATASET
from pipelines.options import parse_options
from tests.harness.cloud import start_bigquery
from tests.test_architecture import MAY_IMPORT
from transforms import dead_letter

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = (*MAY_IMPORT, "bench", "docs", "tests")


@dataclass(frozen=True, slots=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(str(page.relative_to(ROOT)), line, found[1], found[2])


BLOCKS = list(blocks())
PYTHON = [block for block in BLOCKS if block.language == "python"]
EXAMPLE_TESTS = [block for block in PYTHON if "\ndef test_" in block.text]
COMMANDS = [
    (f"{block.page}: {command}", command)
    for block in BLOCKS
    if block.language == "sh" and block.page not in ("README.md", "docs/local.md")
    for command in block.text.splitlines()
]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """A page's headings as the links to them are written on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def quoted(page: Path) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page)))


def run(command: str, *, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    if words[0] == ".venv/bin/python":
        words[0] = sys.executable
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_are_named_are_there(name: str) -> None:
    paths = {
        text
        for text in quoted(ROOT / name)
        if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./]*|\.ci/\w+|[\w.]+\.(?:md|lock|toml)", text)
    }
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_classes_and_functions_that_are_named_are_in_the_code(name: str) -> None:
    code = "\n".join(
        path.read_text() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")
    )
    known = set(re.findall(r"\w+", code))
    names = {
        part
        for text in quoted(ROOT / name)
        if re.fullmatch(r"_?[a-z_]+_\w+|(?:[A-Z][a-z0-9]+){2,}(?:\.\w+)*", text)
        # Put together of a prefix and a name; test_broker_page holds them to the code.
        and not text.startswith("mqttbeam_broker_")
        for part in text.split(".")
    }
    assert sorted(names - known) == []


def test_every_folder_with_code_has_an_entry_in_the_architecture() -> None:
    rooms = set(re.findall(r"^\| `([\w/]+)/` \|", prose(ROOT / "ARCHITECTURE.md"), re.MULTILINE))
    packages = {
        str(file.parent.relative_to(ROOT))
        for folder in FOLDERS
        if folder != "tests"
        for file in (ROOT / folder).rglob("__init__.py")
        if not str(file).startswith(str(ROOT / "bench") + "/") or file.parent == ROOT / "bench"
    }
    assert sorted(packages - rooms) == []


def test_the_arrows_are_those_that_imports_are_held_to() -> None:
    (block,) = [block for block in BLOCKS if block.language == "arrows"]
    drawn: dict[str, set[str]] = {}
    for line in block.text.splitlines():
        steps = [step.strip() for step in line.split("<-")]
        for position, step in enumerate(steps):
            for room in step.split(", "):
                if room != "everything":
                    drawn.setdefault(room, set()).update(steps[:position])
    for room, below in drawn.items():
        if "everything" in below:
            drawn[room] = set(drawn) - {room}
    assert drawn == MAY_IMPORT


def test_generated_tables_are_those_of_the_code() -> None:
    page = generate.PAGE.read_text(encoding="utf-8")
    assert generate.rendered(page) == page, "run python -m docs.generate"
    for pipeline in generate.PIPELINES:
        for option in generate.options_of(pipeline):
            assert f"| `--{option.name}` |" in generate.table(pipeline)
            assert generate.table(pipeline) in page


def test_every_metric_of_the_code_has_an_entry_and_no_other_has() -> None:
    text = prose(generate.PAGE)
    rows = re.findall(r"^\| .*$", text[text.index("## Metrics") :], re.MULTILINE)[2:]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    counted = set()
    for path in [*(ROOT / "transforms").rglob("*.py"), *(ROOT / "mqtt" / "client").glob("*.py")]:
        code = path.read_text()
        counted |= set(re.findall(r'Metrics\.\w+\([\w."]+, "(\w+)"\)', code))
        if path.name != "publish.py":  # its sink reports these under other names
            counted |= set(re.findall(r'counters(?:\.add\(|\[)"(\w+)"', code))
    # Named by variables.
    counted |= {"accepted", "no_subscriber", "rejected"}
    assert told == counted


def test_every_attribute_of_a_dead_letter_is_told() -> None:
    named = set(re.findall(r"deadLetter[A-Z]\w*", dead_letter.__doc__ or ""))
    assert len(named) == 8
    assert named - quoted(ROOT / "docs" / "guarantees.md") == set()


@pytest.mark.parametrize(
    "command", [each for _, each in COMMANDS], ids=[name for name, _ in COMMANDS]
)
def test_commands_are_taken_by_what_they_call(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        done = run(f"make -n {shlex.join(words[1:])}")
        for word in words[1:]:
            name, _, value = word.partition("=")
            assert name != "TESTS" or (ROOT / value).exists()
    elif words[-1] == "--help":
        done = run(command)
    elif words[0] == "mqttbeam":
        # A plan needs nothing but its options; of others only the options are looked at.
        more = [] if words[1] == "plan" else ["--help"]
        done = run(shlex.join([".venv/bin/python", "-m", "cli", *words[1:], *more]))
    elif words[1:3] == ["-m", "pytest"]:
        done = run(f"{command} --collect-only")
    elif words[1:3] == ["-m", "docs.generate"]:
        done = run(f"{command} --check")
    elif words[1:3] == ["-m", "bench"]:
        code = (
            "from bench.__main__ import MEASUREMENTS, parser;"
            f" parser(list(MEASUREMENTS)).parse_args({words[3:]!r})"
        )
        done = run(shlex.join([".venv/bin/python", "-c", code]))
    else:
        module = re.fullmatch(r"pipelines\.(\w+)", words[2])
        assert module is not None, "no test knows how to try this command"
        kind = getattr(importlib.import_module(module[0]), generate.PIPELINES[module[1]])
        parse_options(kind, words[3:], program=module[0], about="")
        return
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(block: Block) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(ast.parse(block.text), str(block), "exec"), names)
    if "build" in names:
        # Builds the graph, for which nothing needs to be there.
        names["build"](beam.Pipeline())


@pytest.mark.parametrize("block", EXAMPLE_TESTS, ids=str)
def test_tests_that_are_shown_pass(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "test_shown.py"
    file.write_text(block.text)
    command = [".venv/bin/python", "-m", "pytest", "-c", "pyproject.toml", "--rootdir", "."]
    if "cloud: Cloud" in block.text:
        command += ["-p", "tests.harness.fixtures"]
    command.append(str(file))
    done = run(shlex.join(command), seconds=90)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def bigquery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    process = start_bigquery(tmp_path_factory.mktemp("bigquery"))
    client = LocalBigQuery(process.rest)
    client.create(DATASET)
    yield client
    process.stop()


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "sql"], ids=str)
def test_sql_is_answered(block: Block, bigquery: LocalBigQuery) -> None:
    assert bigquery.query(block.text).columns


def test_every_block_says_what_it_is() -> None:
    known = {"sh", "python", "sql", "yaml", "text", "arrows"}
    unlabelled = [str(block) for block in BLOCKS if block.language not in known]
    assert [item for item in unlabelled if not item.startswith("README.md")] == []
