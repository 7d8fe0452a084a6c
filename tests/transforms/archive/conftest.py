from __future__ import annotations

from collections.abc import Iterator

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials

from tests.harness.storage import CloudStorage, running_cloud_storage
from tests.transforms.pubsubio.conftest import channel, place, service

__all__ = ["channel", "place", "server", "service", "storage"]


@pytest.fixture(scope="package")
def server() -> Iterator[CloudStorage]:
    with pytest.MonkeyPatch.context() as patch, running_cloud_storage() as running:
        patch.setenv("STORAGE_EMULATOR_HOST", running.url)
        # Beam looks for credentials for 20 s before it goes on without.
        patch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "p"))  # type: ignore[no-untyped-call]  # of google-auth
        yield running


@pytest.fixture
def storage(server: CloudStorage) -> Iterator[CloudStorage]:
    yield server
    server.clear()
