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
    with running_cloud_storage() as running:
        yield running


@pytest.fixture
def storage(server: CloudStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudStorage]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    # Beam looks for credentials for 20 s before it goes on without.
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "p"))  # type: ignore[no-untyped-call]  # of google-auth
    yield server
    server.clear()
