"""What comes to an archive is counted, and told by message id."""

from __future__ import annotations

from pathlib import Path

import fastavro
import pytest

from localcloud.run.archive import Archive, ArchiveCounter
from tests.harness.waiting import wait_until
from transforms.archive.record import SCHEMA

HOUR = "year=2026/month=11/day=23/hour=06"


def write(folder: Path, name: str, *message_ids: str) -> None:
    (folder / HOUR).mkdir(parents=True, exist_ok=True)
    records = [
        {"raw": b"", "attributes": {"messageId": each}, "ordering_key": ""} for each in message_ids
    ]
    with (folder / HOUR / name).open("wb") as file:
        fastavro.writer(file, dict(SCHEMA), records)


def test_only_what_comes_after_the_start_counts(tmp_path: Path) -> None:
    write(tmp_path, "before.avro", "r1-1-a")
    archive = Archive(tmp_path)
    write(tmp_path, "a.avro", "r1-2-b", "r1-3-c")
    write(tmp_path, "b.avro", "r1-4-d")
    for _ in range(2):
        archive.look()
        assert (archive.files, archive.messages) == (2, 3)


def test_copies_are_those_of_the_run(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    write(tmp_path, "a.avro", "r1-1-a", "r2-1-a", "")
    assert archive.copies("r1") == {"r1-1-a": 1}
    write(tmp_path, "b.avro", "r1-1-a", "r1-2-b")
    assert archive.copies("r1") == {"r1-1-a": 2, "r1-2-b": 1}


def test_a_file_that_is_no_archive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcloud.run.archive.POLL_SECONDS", 0.01)
    counter = ArchiveCounter(Archive(tmp_path))
    (tmp_path / HOUR).mkdir(parents=True)
    (tmp_path / HOUR / "a.avro").write_bytes(b"no Avro")
    wait_until(lambda: counter.error is not None, seconds=10, what="an error")
    counter.close()
