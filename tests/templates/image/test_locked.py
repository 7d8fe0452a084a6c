"""images.lock: no digest is made up, and nothing is built without one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from templates.errors import ImageError
from templates.image.locked import BaseImage, digests, read_lock, write_lock

DIGEST = f"sha256:{'5' * 64}"
PYTHON = BaseImage(role="python", image="docker.io/library/python", tag="3.11-slim", digest=DIGEST)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    images = (PYTHON, dataclasses.replace(PYTHON, role="beam", digest=None))
    write_lock(images, tmp_path / "images.lock")
    assert read_lock(tmp_path / "images.lock") == images
    assert [file.name for file in tmp_path.iterdir()] == ["images.lock"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "sha256:55"}, "is no digest"),
        ({"digest": "3.11"}, "is no digest"),
        ({"image": "python"}, "is no HOST/PATH"),
        ({"image": "library/python"}, "is no HOST/PATH"),
        ({"image": "docker.io/Library/python"}, "is no HOST/PATH"),
        ({"tag": "3.11@x"}, "is no tag"),
    ],
)
def test_what_is_no_image_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        dataclasses.replace(PYTHON, **change)


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"python": {}}', '{"python": "docker.io/x"}'])
def test_what_is_no_lock_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "images.lock"
    path.write_text(text)
    with pytest.raises(ImageError, match=r"images\.lock is no lock file"):
        read_lock(path)


def test_the_digests_are_by_the_arguments_of_the_dockerfile() -> None:
    assert digests([PYTHON]) == {"PYTHON_DIGEST": DIGEST}


def test_without_a_digest_it_says_what_to_run() -> None:
    with pytest.raises(
        ImageError, match=r"no digest of docker\.io/library/python:3\.11-slim\. Run"
    ):
        digests([dataclasses.replace(PYTHON, digest=None)])


def test_the_projects_own_is_one() -> None:
    assert [each.role for each in read_lock()] == ["python", "beam", "launcher"]
