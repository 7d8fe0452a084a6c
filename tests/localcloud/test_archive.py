from __future__ import annotations

from pathlib import Path

import fastavro
import pytest

from localcloud.archive import Hour, NoArchive, hours, last_records, wait_for_files
from localcloud.endpoints import ARCHIVE
from transforms.archive.record import SCHEMA

DAY = f"{ARCHIVE}/year=2026/month=11/day=23"


def write(folder: Path, name: str, count: int) -> None:
    path = folder / DAY / name
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [{"raw": b"%d" % n, "attributes": {}, "ordering_key": ""} for n in range(count)]
    with path.open("wb") as file:
        fastavro.writer(file, dict(SCHEMA), records)


def test_files_are_told_by_the_hour_and_what_is_late_apart(tmp_path: Path) -> None:
    write(tmp_path, "hour=06/telemetry-1.avro", 5)
    write(tmp_path, "hour=06/late-2.avro", 2)
    write(tmp_path, "hour=07/telemetry-3.avro", 1)
    assert hours(wait_for_files(tmp_path)) == [
        Hour(name="year=2026/month=11/day=23/hour=06", files=2, messages=7, late=2),
        Hour(name="year=2026/month=11/day=23/hour=07", files=1, messages=1, late=0),
    ]


def test_the_last_records_of_a_file_are_its_last(tmp_path: Path) -> None:
    write(tmp_path, "hour=06/telemetry-1.avro", 5)
    (path,) = wait_for_files(tmp_path)
    assert [record["raw"] for record in last_records(path, 2)] == [b"3", b"4"]


def test_without_files_and_without_a_run_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(NoArchive, match="make run"):
        wait_for_files(tmp_path)
