from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcloud.bigquery import LocalBigQuery
from pipelines.preflight import Access, Finding, Outcome, Table
from pipelines.preflight.bigquery import APPEND, examine_table
from schemas.tables import DEAD_LETTERS, TELEMETRY
from schemas.tables import Table as Definition
from tests.harness.cloud import start_bigquery
from tests.harness.google_apis import GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess

TABLE = "local.d.telemetry"
PATH = "bigquery/v2/projects/local/datasets/d/tables/telemetry"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The local BigQuery's addresses, with the dataset `d` and its tables."""
    process = start_bigquery(tmp_path_factory.mktemp("bigquery"))
    LocalBigQuery(process.rest).create("d")
    yield process.rest, process.grpc
    process.stop()


@pytest.fixture
def tables(server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The tables are the local ones; returns the address of their REST interface."""
    rest, grpc = server
    monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", grpc)
    return rest


def table(access: Access, name: str = TABLE, definition: Definition = TELEMETRY) -> list[Finding]:
    return list(examine_table(Table(name=name, definition=definition), access, seconds=10))


def test_a_table_that_takes_the_account_s_rows(
    tables: str, apis: GoogleApis, access: MakeAccess
) -> None:
    apis.rights[ACCOUNT, PATH] = set(APPEND)
    assert [finding.outcome for finding in table(access())] == [Outcome.OK] * 2


def test_a_right_that_is_missing_is_named_with_the_least_role(
    tables: str, access: MakeAccess
) -> None:
    _, finding = table(access())
    assert finding.words == f"{ACCOUNT} lacks {APPEND[0]}"
    assert finding.command == (
        f'bq add-iam-policy-binding --member="serviceAccount:{ACCOUNT}"'
        " --role=roles/bigquery.dataEditor local:d.telemetry"
    )


def test_a_missing_table_is_named_with_the_command_that_makes_it_and_its_dataset(
    tables: str, apis: GoogleApis, access: MakeAccess
) -> None:
    (finding,) = table(access(), "local.nowhere.telemetry")
    assert finding.outcome is Outcome.FAILED
    assert str(finding.command).startswith("bq mk --dataset local:nowhere && bq mk --table ")
    apis.datasets.add("bigquery/v2/projects/local/datasets/nowhere")
    (finding,) = table(access(), "local.nowhere.telemetry")
    assert str(finding.command).startswith("bq mk --table ")
    assert str(finding.command).endswith("local:nowhere.telemetry " + TELEMETRY.schema_file)


def test_other_columns_are_named_with_the_command_that_adds_them(
    tables: str, access: MakeAccess
) -> None:
    (finding,) = table(access(), TABLE, DEAD_LETTERS)
    assert finding.outcome is Outcome.FAILED
    assert "lacks " in finding.words
    assert finding.command == f"bq update local:d.telemetry {DEAD_LETTERS.schema_file}"


def test_the_local_bigquery_knows_no_rights(tables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who = Access(
        service_account=None,
        environment={"BIGQUERY_EMULATOR_HOST": f"http://{tables}"},
        seconds=10,
    )
    assert [finding.outcome for finding in table(who)] == [Outcome.OK] * 2
