from pathlib import Path

import grpc
import pytest
from google.cloud.bigquery_storage_v1.types import AppendRowsResponse

from schemas.tables import TELEMETRY, Field, Table
from tests.transforms.bigquery.write_service import (
    Abort,
    Answer,
    WriteService,
    appended,
    failed,
    row_errors,
)
from transforms.bigquery.append import BatchAppender, missing_table
from transforms.bigquery.rows import RowWriter
from transforms.bigquery.stream import EMULATOR_VARIABLE, AppendStream, TableName, open_client
from transforms.errors import (
    DestinationError,
    DestinationMissing,
    DestinationRefused,
    DestinationUnavailable,
    InvalidSetting,
)

TABLE = TableName(project="p", dataset="d", table="t")
DEFINITION = Table(
    name="t", fields=(Field(name="c", type="STRING", mode="REQUIRED"),), schema_file="t.json"
)
WRITER = RowWriter(DEFINITION.fields)


class Appending:
    """An appender on a service, with what was refused and how long it would have slept."""

    def __init__(self, service: WriteService, retry_seconds: float = 60.0) -> None:
        self.refused: dict[str, str] = {}
        self.slept: list[float] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(EMULATOR_VARIABLE, f"127.0.0.1:{service.port}")
            self.stream = AppendStream(open_client(), TABLE, WRITER.descriptor)
        self.appender = BatchAppender(
            self.stream,
            TABLE,
            DEFINITION,
            retry_seconds=retry_seconds,
            refused=self.refused.__setitem__,
            sleep=self.slept.append,
        )

    def append(self, *batches: list[str]) -> None:
        try:
            for names in batches:
                self.appender.send([WRITER.serialize({"c": name}) for name in names], names)
            self.appender.flush()
        finally:
            self.stream.close()


def names(service: WriteService) -> list[str]:
    return [row[2:].decode() for row in service.rows]  # behind tag and length


def refusing(*bad: bytes) -> Answer:
    """Refuse the requests with a bad row as a whole, without saying which it is."""

    def answer(rows: list[bytes]) -> AppendRowsResponse:
        if any(row.endswith(bad) for row in rows):
            return failed(grpc.StatusCode.INVALID_ARGUMENT, "bad row")
        return appended(rows)

    return answer


def test_many_requests_go_over_one_stream() -> None:
    with WriteService(appended) as service:
        appending = Appending(service)
        batches = [[f"{batch}-{row}" for row in range(3)] for batch in range(20)]
        appending.append(*batches)
        assert names(service) == [name for batch in batches for name in batch]
        assert appending.stream.take_opened() == 1
        assert appending.appender.counters["appended"] == 60


def test_rows_with_errors_are_refused_and_the_others_appended() -> None:
    def answer(rows: list[bytes]) -> AppendRowsResponse:
        bad = {i: "too odd" for i, row in enumerate(rows) if row.endswith(b"bad")}
        return row_errors(bad) if bad else appended(rows)

    with WriteService(answer) as service:
        appending = Appending(service)
        appending.append(["a", "bad", "b"], ["c"])
        assert sorted(names(service)) == ["a", "b", "c"]
        assert appending.refused == {"bad": "BigQuery refused the row: too odd"}


def test_a_request_refused_whole_is_divided_until_the_row_is_found() -> None:
    with WriteService(refusing(b"bad")) as service:
        appending = Appending(service)
        appending.append([*"abcdefg", "bad", *"hij"])
        assert sorted(names(service)) == [*"abcdefghij"]
        assert list(appending.refused) == ["bad"]
        assert not appending.slept


def test_a_row_that_breaks_the_service_is_refused_after_some_attempts() -> None:
    def answer(rows: list[bytes]) -> AppendRowsResponse:
        if any(row.endswith(b"bad") for row in rows):
            raise Abort
        return appended(rows)

    with WriteService(answer) as service:
        appending = Appending(service)
        appending.append(["a", "bad"], ["b"])
        assert sorted(names(service)) == ["a", "b"]
        assert list(appending.refused) == ["bad"]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_what_passes_is_tried_again_after_pauses_of_a_second_at_most(
    code: grpc.StatusCode,
) -> None:
    answers = [failed(code)] * 4

    def answer(rows: list[bytes]) -> AppendRowsResponse:
        return answers.pop() if answers else appended(rows)

    with WriteService(answer) as service:
        appending = Appending(service)
        appending.append(["a"])
        assert names(service) == ["a"]
        assert len(appending.slept) == 4
        assert 0 < max(appending.slept) <= 1
        assert appending.appender.counters["retries"] == 4


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (grpc.StatusCode.NOT_FOUND, DestinationMissing, r"p\.d\.t does not exist.*bq mk --table"),
        (grpc.StatusCode.PERMISSION_DENIED, DestinationRefused, "roles/bigquery.dataEditor"),
    ],
)
def test_what_does_not_pass_names_the_table_and_what_mends_it(
    code: grpc.StatusCode, error: type[DestinationError], words: str
) -> None:
    with WriteService(lambda rows: failed(code)) as service, pytest.raises(error, match=words):
        Appending(service).append(["a"])


def test_a_missing_table_of_the_local_bigquery_is_told_with_what_makes_it_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = TableName.parse("local:iot.telemetry")
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    assert "local create" not in str(missing_table(table, TELEMETRY))
    monkeypatch.setenv(EMULATOR_VARIABLE, "127.0.0.1:9060")
    here = "`mqttbeam local create --dataset local:iot` makes local:iot.telemetry"
    assert str(missing_table(table, TELEMETRY)).endswith(here)


def test_without_credentials_the_way_to_some_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(DestinationRefused, match=r"no Google credentials.*none\.json.*gcloud auth"):
        open_client()


def test_a_service_that_stays_away_ends_the_wait() -> None:
    with (
        WriteService(lambda rows: failed(grpc.StatusCode.UNAVAILABLE, "gone")) as service,
        pytest.raises(DestinationUnavailable, match=r"took no rows for table p\.d\.t.*gone"),
    ):
        Appending(service, retry_seconds=0).append(["a"])


@pytest.mark.parametrize("text", ["p.d.t", "p:d.t"])
def test_table_names_are_read(text: str) -> None:
    assert TableName.parse(text) == TABLE


def test_a_legacy_project_keeps_its_dots() -> None:
    assert TableName.parse("example.com:p:d.t").project == "example.com:p"


@pytest.mark.parametrize("text", ["", "t", "d.t", "a.b.c.d", "p:d.t.x", "p..t"])
def test_what_is_no_table_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"expected project\.dataset\.table"):
        TableName.parse(text)
