"""Whole under its name or not at all, and leftovers of the dead only are removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.archive.folder import open_folder
from transforms.archive.local_folder import LocalFolder
from transforms.errors import InvalidSetting

NAME = "year=2026/month=01/day=31/hour=12/a.avro"

# Makes a temporary file, says so, and waits to be killed.
WRITER = """
import sys
from transforms.archive.local_folder import LocalFolder
LocalFolder(sys.argv[1])._create("a.avro")
print("made", flush=True)
sys.stdin.read()
"""


def partial(folder: Path) -> list[str]:
    return os.listdir(folder / ".partial")


def test_a_file_is_under_its_name_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path / "not" / "yet"))
    folder.write(NAME, b"whole")
    assert Path(folder.path(NAME)).read_bytes() == b"whole"
    assert partial(tmp_path / "not" / "yet") == []


def test_to_write_the_same_again_is_no_error(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path))
    folder.write(NAME, b"whole")
    folder.write(NAME, b"whole")
    assert (tmp_path / NAME).read_bytes() == b"whole"


def test_the_bytes_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    LocalFolder(str(tmp_path)).write(NAME, b"first")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    LocalFolder(str(tmp_path)).write(f"{NAME}2", b"whole")
    assert steps == ["file", "rename", "folder"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "year=2026").write_bytes(b"a file where a folder should be")
    with pytest.raises(OSError, match="year=2026"):
        LocalFolder(str(tmp_path)).write(NAME, b"whole")
    assert partial(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"made\n"
        dead, living = writers
        dead.kill()
        dead.wait()
        assert len(partial(tmp_path)) == 2
        assert LocalFolder(str(tmp_path)).clean() == 1
        (left,) = partial(tmp_path)
        assert f".{living.pid}-" in left
        assert LocalFolder(str(tmp_path)).clean() == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_a_final_file_is_never_cleaned(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path))
    folder.write(NAME, b"whole")
    assert folder.clean() == 0
    assert (tmp_path / NAME).exists()


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    LocalFolder(str(tmp_path)).check()
    assert partial(tmp_path) == []


def test_a_folder_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="ftp://"):
        open_folder("ftp://host/folder")
