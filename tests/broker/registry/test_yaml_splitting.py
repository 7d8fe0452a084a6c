"""Of a registry file that changes only those entries are read again whose text is another one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import RegistryError
from broker.registry import load_registry
from broker.registry.entries import Content
from broker.registry.yaml_reading import read_content
from broker.registry.yaml_secrets import Secrets
from broker.registry.yaml_splitting import ReadEntries, split
from broker.yaml_loading import Unusual
from tests.broker.registry.contents import HASH

FILE = f"""\
version: 1
devices:
  # the first
  d1:
    password_hash: {HASH}
    metadata: {{site: north}}
  d2:
    credentials: []

  d3: {{password_hash: "{HASH}"}}
services:
  s1:
    role: observer
    client_id_prefix: s1-
    password_hash: {HASH}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "registry.yaml"
    file.write_text(FILE)
    return file


def read_again(path: Path, before: str, after: str) -> tuple[Content, Content]:
    registry = load_registry(path)
    was = registry.content
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    registry.changes(0)
    assert registry.content == load_registry(path).content
    return was, registry.content


def test_entries_whose_text_is_the_same_are_those_that_were_read_before(path: Path) -> None:
    was, now = read_again(path, "site: north", "site: south")
    assert now.entries["d1"].metadata == {"site": "south"}
    assert [name for name in now.entries if now.entries[name] is was.entries[name]] == [
        "d2",
        "d3",
        "s1",
    ]


def test_others_may_come_and_go_around_them(path: Path) -> None:
    was, now = read_again(path, "  d2:\n", "  d0: {credentials: []}\n  d9:\n")
    assert list(now.entries) == ["d1", "d0", "d9", "d3", "s1"]
    assert now.entries["d1"] is was.entries["d1"]
    assert now.entries["s1"] is was.entries["s1"]


def test_an_entry_with_a_secret_elsewhere_is_read_each_time(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_text("one")
    path.write_text(FILE + "  s2: {role: observer, client_id_prefix: s2-, password_file: secret}\n")
    registry = load_registry(path)
    was = registry.content.entries
    secret.write_text("two")
    assert registry.changes(1).names == frozenset({"s2"})
    assert registry.content.entries["d1"] is was["d1"]


def test_what_was_read_before_something_was_wrong_is_not_read_again_after_it(path: Path) -> None:
    registry = load_registry(path)
    was = registry.content.entries
    for wrong in ("  d1: {credentials: [}\n", "  d1:\n    credentials: []\n    what: 1\n"):
        path.write_text(FILE.replace("  d2:\n    credentials: []\n", wrong))
        with pytest.raises(RegistryError):
            registry.changes(1)
    path.write_text(FILE + "# mended\n")
    assert not registry.changes(1)
    assert registry.content.entries["d3"] is was["d3"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("  d2:", "  d1:", r"line 7, column 3: .*key 'd1' stands here twice"),
        ("  s1:", "  d3:", r"services\.d3: a device has the same name"),
        ("credentials: []", "credentials: [", r"line 1[01], column"),
        ("role: observer", "role: 'observer", r"line 1[0-9], column"),
        ("services:", "devices:", r"line 11, column 1: .*key 'devices' stands here twice"),
    ],
)
def test_what_is_wrong_in_a_file_that_was_right_is_told_as_at_a_start(
    path: Path, before: str, after: str, words: str
) -> None:
    registry = load_registry(path)
    path.write_text(FILE.replace(before, after, 1))
    with pytest.raises(RegistryError, match=words) as again:
        registry.changes(1)
    with pytest.raises(RegistryError) as first:
        load_registry(path)
    assert str(again.value) == str(first.value)


def test_lines_may_end_as_in_windows(path: Path) -> None:
    path.write_bytes(FILE.replace("\n", "\r\n").encode())
    _, sections = split(FILE)
    assert [len(parts) for parts in sections.values()] == [3, 1]
    was, now = read_again(path, "site: north", "site: south")
    assert now.entries["d3"] is was.entries["d3"]


@pytest.mark.parametrize(
    "text",
    [
        "devices:\n\td1: {}\n",
        "devices:\n  d1: {}\ndevices:\n  d2: {}\n",
        "devices:\n    d1: {}\n  d2: {}\n",
        "--- devices\n",
    ],
)
def test_a_file_of_another_form_is_not_cut(text: str) -> None:
    with pytest.raises(Unusual):
        split(text)


@pytest.mark.parametrize(
    "text",
    [
        'version: 1\nroles: {x: "\ndevices:\n  d1: {credentials: []}\nservices: "}\n',
        "version: 1\ndevices:\n  d1: &x {credentials: []}\n  d2: *x\n",
        "version: 1\ndevices:\n  d1: {credentials: [], metadata: {a: '\n  d2: '}}\n",
        "version: 1\ndevices:\n  # nobody\n",
    ],
)
def test_what_only_looks_like_entries_is_read_as_what_it_is(path: Path, text: str) -> None:
    before = ReadEntries()
    for each in (text, FILE, text):
        path.write_text(each)
        assert read_or_error(path, before) == read_whole(path)


LINES = st.sampled_from(
    [
        "version: 1",
        "devices:",
        "devices: # all",
        "devices: {d7: {credentials: []}}",
        "services:",
        "roles:",
        "  d1:",
        "  d2:",
        "  d3: {credentials: []}",
        "  d4: {credentials: [], metadata: {a: 'x",
        "  d5: y'}}",
        "  ' d6: {",
        "  }}",
        "  ? d8",
        "  : {credentials: []}",
        "  d9: &x {credentials: []}",
        "  d10: *x",
        "   d11: {credentials: []}",
        "    credentials: []",
        "    blocked: true",
        "    metadata:",
        "      text: |",
        "        x",
        "      - y",
        "  # comment",
        "# comment",
        "",
        "  - d12",
        "---",
        "...",
        '  d13: {credentials: [], metadata: {a: "',
        '  "}}',
    ]
)
FILES = st.lists(
    st.lists(LINES, max_size=9).map(lambda lines: ["version: 1", "devices:", *lines]),
    min_size=2,
    max_size=4,
)


@settings(max_examples=300)
@given(FILES)
def test_whatever_becomes_of_a_file_it_is_read_as_at_a_start(files: list[list[str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "registry.yaml"
        before = ReadEntries()
        for lines in files:
            path.write_text("\n".join(lines) + "\n")
            read = [read_or_error(path, before), read_or_error(path, ReadEntries())]
            assert read[0] == read[1] == read_whole(path)


def read_or_error(path: Path, before: ReadEntries) -> Content | str:
    try:
        return read_content(path, Secrets(path.parent, {}), before)
    except RegistryError as error:
        return str(error)


class _Uncut(ReadEntries):
    def _parse_parts(self, text: str) -> object:
        raise Unusual


def read_whole(path: Path) -> Content | str:
    return read_or_error(path, _Uncut())
