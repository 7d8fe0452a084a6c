"""Who asks: the caller, and by it the workers' account; and where."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight import Access, Outcome
from pipelines.preflight.api import Endpoints
from tests.harness.google_apis import CALLER, GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess

PATH = "v3/projects/my-project"
WANTED = ("dataflow.workItems.lease", "dataflow.workItems.update")


def test_rights_are_those_of_the_account_and_not_of_the_caller(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.rights[CALLER, PATH] = set(WANTED)
    apis.rights[ACCOUNT, PATH] = {WANTED[0]}
    who = access()
    assert who.account.permissions("cloudresourcemanager", PATH, WANTED) == {WANTED[0]}
    assert who.caller.permissions("cloudresourcemanager", PATH, WANTED) == set(WANTED)
    assert {name for name, _ in apis.asked} == {CALLER, ACCOUNT}
    assert [finding.outcome for finding in who.findings()] == [Outcome.OK, Outcome.OK]


def test_without_an_account_they_are_the_caller_s(apis: GoogleApis, access: MakeAccess) -> None:
    who = access(None)
    who.account.permissions("cloudresourcemanager", PATH, WANTED)
    assert {name for name, _ in apis.asked} == {CALLER}
    assert who.member == f"serviceAccount:{CALLER}"
    assert who.whose == "this account"


def test_a_refused_impersonation_names_the_command_that_grants_it(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.may_impersonate.clear()
    who = access()
    with pytest.raises(CannotAsk, match=f"this account may not act for {ACCOUNT}"):
        who.account.permissions("cloudresourcemanager", PATH, WANTED)
    _, finding = who.findings()
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.words.startswith(f"acting for {ACCOUNT} was refused")
    assert finding.command == (
        f"gcloud iam service-accounts add-iam-policy-binding {ACCOUNT}"
        f' --member="serviceAccount:{CALLER}" --role=roles/iam.serviceAccountTokenCreator'
    )
    # The caller's own questions are still answered.
    assert who.caller.permissions("cloudresourcemanager", PATH, WANTED) == set()


def test_nobody_asks_without_credentials(
    apis: GoogleApis, access: MakeAccess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    who = access()
    # Why is told once, and not again of every resource.
    with pytest.raises(CannotAsk, match=r"^no credentials$"):
        who.account.permissions("cloudresourcemanager", PATH, WANTED)
    (finding,) = who.findings()
    assert "none.json" in finding.words
    assert finding.outcome is Outcome.FAILED
    assert finding.command == "gcloud auth application-default login"
    assert apis.asked == []


def test_an_answer_that_refuses_is_told_with_its_status(access: MakeAccess) -> None:
    with pytest.raises(ApiRefused, match="not found") as refused:
        access().caller.get("storage", "storage/v1/b/nobody-s")
    assert refused.value.status == 404


def test_a_service_that_is_away_can_t_be_asked() -> None:
    away = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": "http://127.0.0.1:1"}
    who = Access(service_account=None, environment=away, seconds=2)
    with pytest.raises(CannotAsk, match=r"http://127\.0\.0\.1:1 can't be reached"):
        who.caller.get("storage", "storage/v1/b/b")
    # In the clear no credentials are sent, so none were looked for.
    assert who.findings() == []


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers everything with 200 and the body; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="proxy")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"[1, 2]"])
def test_an_answer_that_none_of_google_s_services_gives_is_no_answer(body: bytes) -> None:
    with answering(body) as url:
        environment = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": url}
        who = Access(service_account=None, environment=environment, seconds=5)
        with pytest.raises(CannotAsk, match=f"{url} answered what is no JSON object: is a proxy"):
            who.caller.get("storage", "storage/v1/b/b")


@pytest.mark.parametrize("address", ["localhost:4443", "https://", "ftp://storage.example.com"])
def test_an_override_that_is_no_address_is_told_by_its_variable(address: str) -> None:
    variable = "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"
    who = Access(service_account=None, environment={variable: address}, seconds=5)
    with pytest.raises(CannotAsk, match=rf"{variable} is '.+': must be like https://storage\."):
        who.caller.get("storage", "storage/v1/b/b")


def test_addresses_are_those_that_gcloud_and_the_emulators_go_by() -> None:
    endpoints = Endpoints.of(
        {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": "https://private.example.com/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": "",
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:4443",
            "BIGQUERY_EMULATOR_HOST": "127.0.0.1:9050",
        }
    )
    assert endpoints.address("secretmanager") == "https://private.example.com"
    assert endpoints.address("pubsub") == "https://pubsub.googleapis.com"
    assert endpoints.address("storage") == "http://127.0.0.1:4443"
    assert endpoints.address("bigquery") == "http://127.0.0.1:9050"
    assert endpoints.emulated == {"storage", "bigquery"}
    assert Endpoints.of(os.environ).address("iam") == "https://iam.googleapis.com"
