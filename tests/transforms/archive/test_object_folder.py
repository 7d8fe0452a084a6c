"""What Beam and Google's client make of an upload: seen as a whole, or not at all."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.harness.storage import BUCKET, CloudStorage
from transforms.archive import check_archive
from transforms.archive.folder import Folder, open_folder
from transforms.errors import DestinationMissing, DestinationRefused

NAME = "year=2026/month=01/day=31/hour=12/a.avro"
OBJECT = f"archive/{NAME}"
FOLDER = f"gs://{BUCKET}/archive"
TWO_CHUNKS = 20 * 1024 * 1024

# Writes a file of two chunks.
WRITER = f"""
import google.auth
from google.auth.credentials import AnonymousCredentials
google.auth.default = lambda **_: (AnonymousCredentials(), "p")
from transforms.archive.folder import open_folder
open_folder("{FOLDER}").write("{NAME}", b"x" * {TWO_CHUNKS})
"""


@pytest.fixture
def folder(storage: CloudStorage) -> Folder:
    return open_folder(f"{FOLDER}/")


def is_upload(method: str, path: str) -> bool:
    return path.startswith("/upload/")


def is_deletion(method: str, path: str) -> bool:
    return path.startswith("/batch/")


@pytest.mark.parametrize("size", [0, 100, TWO_CHUNKS])
def test_an_object_is_what_was_written(storage: CloudStorage, folder: Folder, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    folder.write(NAME, data)
    assert storage.names() == [OBJECT]
    assert storage.read(OBJECT) == data
    assert folder.path(NAME) == f"gs://{BUCKET}/{OBJECT}"


def test_to_write_the_same_again_is_no_error(storage: CloudStorage, folder: Folder) -> None:
    folder.write(NAME, b"whole")
    folder.write(NAME, b"whole")
    assert storage.names() == [OBJECT]


def test_an_upload_that_breaks_off_leaves_no_object(storage: CloudStorage, folder: Folder) -> None:
    asked: list[str] = []

    def refuses_chunks(method: str, path: str) -> bool:
        asked.append(method)
        return method == "PUT"

    storage.refuses = refuses_chunks
    with pytest.raises(Exception, match="403"):
        folder.write(NAME, b"x" * TWO_CHUNKS)
    assert asked[-1] == "DELETE", "the upload is broken off"
    asked.clear()
    # Left to itself, Google's writer would go on when it is collected.
    gc.collect()
    assert (asked, storage.names()) == ([], [])
    storage.refuses = lambda method, path: False
    folder.write(NAME, b"whole")
    assert storage.read(OBJECT) == b"whole"


def test_a_writer_killed_in_the_midst_of_an_upload_leaves_no_object(
    storage: CloudStorage, folder: Folder
) -> None:
    chunks = 0

    def is_second_chunk(method: str, path: str) -> bool:
        nonlocal chunks
        chunks += method == "PUT"
        return chunks == 2

    storage.stops = is_second_chunk
    writer = subprocess.Popen([sys.executable, "-c", WRITER], env=os.environ)
    try:
        assert storage.stopped.wait(60), "no second chunk came"
    finally:
        writer.kill()
        writer.wait()
    assert storage.names() == []
    storage.stops = lambda method, path: False
    folder.write(NAME, b"whole")
    assert storage.names() == [OBJECT]


def test_a_check_leaves_nothing(storage: CloudStorage) -> None:
    check_archive(FOLDER)
    assert storage.names() == []


@pytest.mark.parametrize("refuses", [is_upload, is_deletion])
def test_a_bucket_that_takes_nothing_from_us_is_told_with_the_command_that_mends_it(
    storage: CloudStorage, refuses: Callable[[str, str], bool]
) -> None:
    storage.refuses = refuses
    with pytest.raises(DestinationRefused) as told:
        check_archive(FOLDER)
    assert (
        f"`gcloud storage buckets add-iam-policy-binding gs://{BUCKET}"
        " --member=serviceAccount:ACCOUNT --role=roles/storage.objectUser`"
    ) in str(told.value)


@pytest.mark.usefixtures("storage")
def test_a_bucket_that_is_not_there_is_told_with_the_command_that_creates_it() -> None:
    command = "`gcloud storage buckets create gs://nowhere --location=LOCATION`"
    with pytest.raises(DestinationMissing, match=re.escape(command)):
        check_archive("gs://nowhere/archive")
