from __future__ import annotations

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
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The image, built here; where there is no engine, its Python part in an environment."""
    if no_engine() is None:
        return container()
    python = python_of_the_image()
    if python is None:
        pytest.skip("neither an engine nor a Python of the image's version is here")
    return virtual_environment(tmp_path_factory.mktemp("image"), python)
