"""The image's packages are the tested ones, and Beam is the same everywhere."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from templates.image.locked import read_lock
from tests.templates.image.dockerfile import PROJECT
from tests.templates.image.locks import BUILD, REQUIREMENTS, WHOLE, pins

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
ASKED = [Requirement(each) for each in METADATA["dependencies"]]


@pytest.mark.parametrize("path", [REQUIREMENTS, BUILD], ids=lambda path: path.name)
def test_every_pin_is_one_of_the_whole_lock(path: object) -> None:
    whole = {(pin.name, str(pin.specifier)): pin for pin in pins(WHOLE)}
    assert isinstance(path, type(REQUIREMENTS))
    for pin in pins(path):
        assert pin.hashes
        assert pin.hashes == whole[pin.name, str(pin.specifier)].hashes, pin.name


def test_what_the_project_asks_for_is_there_in_a_version_that_it_takes() -> None:
    pinned = {pin.name: pin for pin in pins(REQUIREMENTS)}
    for asked in ASKED:
        (version,) = pinned[canonicalize_name(asked.name)].specifier
        assert asked.specifier.contains(version.version), asked


def test_what_only_developers_need_is_not_there() -> None:
    names = {pin.name for pin in pins(REQUIREMENTS)}
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "bqemulator", "duckdb", "typer"}
    assert len(names) < 0.8 * len({pin.name for pin in pins(WHOLE)})


def test_beam_is_the_same_in_project_locks_and_image() -> None:
    (asked,) = [str(each.specifier) for each in ASKED if each.name == "apache-beam"]
    for path in (WHOLE, REQUIREMENTS):
        (pinned,) = [str(pin.specifier) for pin in pins(path) if pin.name == "apache-beam"]
        assert pinned == asked, path
    (image,) = [each for each in read_lock() if each.role == "beam"]
    assert f"=={image.tag}" == asked


def test_python_is_the_same_in_all_images() -> None:
    images = {each.role: each for each in read_lock()}
    version = images["python"].tag.partition("-")[0]
    assert images["beam"].image.endswith(f"/beam_python{version}_sdk")
    assert f"/python{version.replace('.', '')}-template-launcher" in images["launcher"].image
