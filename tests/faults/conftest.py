"""The processes that these tests run on."""

from tests.harness.fixtures import *  # noqa: F403  # its __all__ is the one list of them
