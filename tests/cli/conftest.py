from tests.harness.google_fixtures import *  # noqa: F403  # each is a fixture
