"""Fixtures of the tests that ask Google, imported by the conftest of each of their folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from pipelines.preflight import Access
from tests.harness.google_apis import GoogleApis, running_google_apis
from tests.harness.pubsub_rights import PubSubWithRights

__all__ = ["_apis", "access", "apis", "rights"]

ACCOUNT = "workers@my-project.iam.gserviceaccount.com"
MakeAccess = Callable[..., Access]


@pytest.fixture(scope="session")
def _apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleApis]:
    with running_google_apis(tmp_path_factory.mktemp("google")) as server:
        yield server


@pytest.fixture
def apis(_apis: GoogleApis, monkeypatch: pytest.MonkeyPatch) -> GoogleApis:
    """Google's interfaces, with nothing in them; the caller may act for ACCOUNT."""
    for name, value in _apis.environment().items():
        monkeypatch.setenv(name, value)
    for state in (
        _apis.rights,
        _apis.accounts,
        _apis.services,
        _apis.secrets,
        _apis.objects,
        _apis.contents,
        _apis.images,
        _apis.subnetworks,
        _apis.datasets,
        _apis.asked,
    ):
        state.clear()
    _apis.may_impersonate = {ACCOUNT}
    return _apis


@pytest.fixture
def access(apis: GoogleApis) -> MakeAccess:
    """Makes an access: by default that of ACCOUNT, by a caller who may act for it."""

    def make(service_account: str | None = ACCOUNT) -> Access:
        return Access(service_account=service_account, environment=os.environ, seconds=5)

    return make


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubWithRights]:
    """A Pub/Sub with rights."""
    with PubSubWithRights() as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.endpoint)
        yield server
