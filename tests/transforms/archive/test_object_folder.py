"""What Beam and Google's client make of an upload: seen as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transforms.archive.cloud_storage import CloudStorage, running_cloud_storage
from transforms.archive.folder import Folder, open_folder

NAME = "year=2026/month=01/day=31/hour=12/a.avro"
OBJECT = f"archive/{NAME}"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudStorage]:
    with running_cloud_storage() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        yield running


@pytest.fixture
def folder(storage: CloudStorage) -> Folder:
    return open_folder("gs://bucket/archive/")


@pytest.mark.parametrize("size", [0, 100, 20 * 1024 * 1024])
def test_an_object_is_what_was_written(storage: CloudStorage, folder: Folder, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    folder.write(NAME, data)
    assert storage.objects == {OBJECT: data}
    assert folder.path(NAME) == f"gs://bucket/{OBJECT}"


def test_an_upload_that_breaks_off_leaves_no_object(storage: CloudStorage, folder: Folder) -> None:
    storage.failures = 1
    data = b"x" * 20 * 1024 * 1024
    with pytest.raises(Exception, match="403"):
        folder.write(NAME, data)
    # Google's writer may end the upload when it is collected: then the object is whole.
    assert storage.objects.get(OBJECT, data) == data
    folder.write(NAME, b"whole")
    assert storage.objects == {OBJECT: b"whole"}
