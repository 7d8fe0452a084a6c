"""An archive on this machine, read from its Avro files as anybody reads them."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import fastavro

from localcloud.endpoints import ARCHIVE, NoRunningCloud, RunningCloud

WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.25


class NoArchive(Exception):
    """Nothing was archived in this folder; the message says how to archive something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What was archived of an hour, in UTC; `name` is its folder below the archive's."""

    name: str
    files: int
    messages: int
    late: int


def archive_files(folder: Path) -> list[Path]:
    """Return an archive's files, in the order of their hours and then of their names."""
    return sorted(folder.glob("year=*/month=*/day=*/hour=*/*.avro"))


def messages_in(path: Path) -> int:
    """Return how many messages a file has, by its blocks' heads: none is decoded."""
    with path.open("rb") as file:
        return sum(block.num_records for block in fastavro.block_reader(file))


def wait_for_files(state_folder: Path) -> list[Path]:
    """Return the files that runs in this folder have archived.

    Where there are none yet and a run is on, the first is waited for. Raises NoArchive.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not (files := archive_files(state_folder / ARCHIVE)):
        try:
            RunningCloud.find(state_folder)
        except NoRunningCloud as error:
            raise NoArchive(
                f"nothing is archived in {state_folder / ARCHIVE}, and {error}"
            ) from error
        if time.monotonic() > deadline:
            raise NoArchive(
                f"nothing came to {state_folder / ARCHIVE} within {WAIT_SECONDS:g} s; see"
                f" {state_folder / 'logs' / 'warehouse.log'}"
            )
        time.sleep(_LOOK_SECONDS)
    return files


def hours(files: Sequence[Path]) -> list[Hour]:
    """Return what was archived by the hour; late is what is in files of that name."""
    made = []
    for folder, group in groupby(files, key=lambda path: path.parent):
        counts = [(path.name.startswith("late-"), messages_in(path)) for path in group]
        made.append(
            Hour(
                name="/".join(folder.parts[-4:]),
                files=len(counts),
                messages=sum(count for _, count in counts),
                late=sum(count for late, count in counts if late),
            )
        )
    return made


def last_records(path: Path, count: int) -> list[dict[str, Any]]:
    """Return the last records of a file."""
    with path.open("rb") as file:
        return list(deque(fastavro.reader(file), maxlen=count))  # type: ignore[arg-type]  # of records
