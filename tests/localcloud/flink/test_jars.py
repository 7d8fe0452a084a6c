from __future__ import annotations

import os
from pathlib import Path

import pytest

from localcloud.flink import jars
from localcloud.flink.jars import (
    FlinkUnavailable,
    cached_jars,
    check_java,
    ensure_jars,
    java_version,
)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_392"', 8),
        ("command not found", None),
    ],
)
def test_the_version_is_read_from_what_java_says(answer: str, version: int | None) -> None:
    assert java_version(answer) == version


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are looked for; the cache is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def test_a_machine_without_java_is_told_what_to_install(path: Path) -> None:
    with pytest.raises(FlinkUnavailable, match=r"no Java is installed.*apt-get install maven"):
        check_java()


def test_a_java_that_flink_does_not_run_on_is_named(path: Path) -> None:
    program(path, "java", """echo 'openjdk version "25" 2025-09-16' >&2""")
    with pytest.raises(FlinkUnavailable, match=r'version "25".*needs 11 to 17; name another one'):
        check_java()


def test_a_machine_without_maven_is_told_what_to_install(path: Path) -> None:
    with pytest.raises(FlinkUnavailable, match=r"there is no mvn; .*apt-get install maven"):
        ensure_jars()


def test_what_maven_says_is_told_and_nothing_is_kept(path: Path) -> None:
    program(path, "mvn", "echo '[ERROR] Could not transfer artifact'; exit 1")
    with pytest.raises(FlinkUnavailable, match=r"status 1: \[ERROR\] Could not transfer artifact"):
        ensure_jars()
    assert not cached_jars().exists()
    assert [item.name for item in cached_jars().parent.iterdir()] == ["lock"]


def test_jars_that_are_there_are_not_asked_for_again(path: Path) -> None:
    cached_jars().mkdir(parents=True)
    assert ensure_jars() == cached_jars()


def test_another_pom_has_another_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cached_jars()
    changed = tmp_path / "pom.xml"
    changed.write_text("<project/>")
    monkeypatch.setattr(jars, "_POM", changed)
    assert cached_jars() != before
