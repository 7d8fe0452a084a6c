from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.fixtures import cloud, own_broker, processes, pubsub
from tests.templates.image.places import (
    Place,
    container,
    no_engine,
    python_of_the_image,
    virtual_environment,
)

__all__ = ["cloud", "own_broker", "processes", "pubsub"]


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """The image, built here; where there is no engine, its Python part in an environment."""
    if no_engine() is None:
        yield container()
        return
    python = python_of_the_image()
    if python is None:
        pytest.skip("neither an engine nor a Python of the image's version is here")
    # 850 MB, which pytest would keep for its next runs.
    with tempfile.TemporaryDirectory(prefix="mqttbeam-image-") as folder:
        yield virtual_environment(Path(folder), python)
