import os
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as CheckedPipeline
from apache_beam.testing.util import assert_that, equal_to

from localcloud.bigquery import BigQueryProcess, LocalBigQuery
from schemas.tables import DEAD_LETTERS, TELEMETRY, Field, Table
from transforms.bigquery import AppendToBigQuery, TableRow, check_table
from transforms.bigquery.stream import EMULATOR_VARIABLE
from transforms.dead_letter import RejectedToRows
from transforms.errors import (
    DestinationMissing,
    DestinationRefused,
    DestinationUnavailable,
    OtherColumns,
)

LETTERS = "local.d.dead_letters"
NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def row(message_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "message_id_from": "device",
        "deduplicable": True,
        "device_id": "pump-7",
        "topic": "devices/pump-7/telemetry",
        "event_time": NOON,
        "received_time": NOON,
        "processed_time": NOON,
        "payload": '{"readings": {"t": 21.5}}',
        **changes,
    }


def append(rows: Iterable[object], table: str = "local.d.telemetry") -> None:
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        created = pipeline | beam.Create(rows, reshuffle=False)
        _ = created | AppendToBigQuery(table, TELEMETRY, retry_seconds=30)


def test_rows_are_in_the_table_when_the_pipeline_is_done(warehouse: LocalBigQuery) -> None:
    append(row(f"all-{number}") for number in range(1_200))
    found = warehouse.query(
        "SELECT message_id, event_time, payload, stream FROM d.telemetry "
        "WHERE STARTS_WITH(message_id, 'all-')"
    )
    assert {line[0] for line in found.rows} == {f"all-{number}" for number in range(1_200)}
    assert found.rows[0][1:] == (NOON, {"readings": {"t": 21.5}}, None)


def test_the_distinct_view_keeps_one_copy_where_copies_can_be_told(
    warehouse: LocalBigQuery,
) -> None:
    later = NOON.replace(second=1)
    append(
        [
            row("twice"),
            row("twice", processed_time=later),
            row("twice", device_id="pump-8"),
            row("equal", deduplicable=False),
            row("equal", deduplicable=False),
        ]
    )
    found = warehouse.query(
        "SELECT message_id, device_id, processed_time FROM d.telemetry_distinct "
        "WHERE message_id IN ('twice', 'equal') ORDER BY message_id, device_id"
    )
    assert found.rows == [
        ("equal", "pump-7", NOON),
        ("equal", "pump-7", NOON),
        ("twice", "pump-7", NOON),
        ("twice", "pump-8", NOON),
    ]


def test_a_row_the_table_can_t_take_comes_out_with_its_bytes(warehouse: LocalBigQuery) -> None:
    bad = TableRow(values=row("bad", payload="{"), raw=b"\xff", attributes={"deviceId": "a"})
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        rejected = (
            pipeline
            | beam.Create([row("good"), bad, row("worse", colour=1)], reshuffle=False)
            | AppendToBigQuery("local:d.telemetry", TELEMETRY)
        )
        assert_that(
            rejected
            | beam.Map(lambda r: (r.stage, r.origin, r.raw[:9], dict(r.attributes), r.reason[:22])),
            equal_to(
                [
                    (
                        "bigquery",
                        "local.d.telemetry",
                        b"\xff",
                        {"deviceId": "a"},
                        "column payload: Expect",
                    ),
                    ("bigquery", "local.d.telemetry", b'{"message', {}, "column colour is not i"),
                ]
            ),
        )
    found = warehouse.query(
        "SELECT message_id FROM d.telemetry WHERE message_id IN ('good', 'bad', 'worse')"
    )
    assert found.rows == [("good",)]


def test_what_is_refused_fits_the_table_of_dead_letters(warehouse: LocalBigQuery) -> None:
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        rejected = (
            pipeline
            | beam.Create([row("dead", payload="{")], reshuffle=False)
            | AppendToBigQuery("local.d.telemetry", TELEMETRY)
        )
        lost = rejected | RejectedToRows() | "Letters" >> AppendToBigQuery(LETTERS, DEAD_LETTERS)
        assert_that(lost, equal_to([]))
    found = warehouse.query("SELECT stage, origin, raw, raw_bytes FROM d.dead_letters")
    assert [(*line[:2], len(line[2])) for line in found.rows] == [
        ("bigquery", "local.d.telemetry", found.rows[0][3])
    ]


def test_a_table_is_checked_before_the_start(warehouse: LocalBigQuery) -> None:
    check_table("local.d.telemetry", TELEMETRY)
    check_table("local.d.dead_letters", DEAD_LETTERS)
    with pytest.raises(DestinationMissing, match=r"local\.d\.nowhere does not exist; create it"):
        check_table("local.d.nowhere", TELEMETRY)
    other = Table(
        name="telemetry", schema_file="x", fields=(Field(name="device_id", type="INT64"),)
    )
    with pytest.raises(DestinationRefused, match=r"telemetry lacks device_id INT64"):
        check_table("local.d.telemetry", other)


def test_a_view_is_told_from_a_table_with_other_columns(warehouse: LocalBigQuery) -> None:
    assert warehouse.query("SELECT COUNT(*) FROM d.telemetry_distinct").rows
    with pytest.raises(OtherColumns, match="telemetry_distinct is a view, or") as refused:
        check_table("local.d.telemetry_distinct", TELEMETRY)
    assert "lacks" not in str(refused.value)
    assert refused.value.command == TELEMETRY.create_command("local", "d", "TABLE")


def test_a_missing_table_fails_the_pipeline_with_one_clear_error(warehouse: LocalBigQuery) -> None:
    assert warehouse.query("SELECT 1").rows == [(1,)]
    with pytest.raises(Exception, match=r"BigQuery table local\.d\.nowhere does not exist"):
        append([row("a")], table="local.d.nowhere")


def test_no_service_ends_the_check_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR_VARIABLE, "127.0.0.1:1")
    with pytest.raises(DestinationUnavailable, match=r"within 0\.5 s"):
        check_table("local.d.telemetry", TELEMETRY, timeout_seconds=0.5)


class Metered(beam.DoFn):
    """Passes elements on one at a time until the test lets the rest through."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def process(self, element: dict[str, Any]) -> Iterable[dict[str, Any]]:
        (self._folder / "reached").touch()
        if element["message_id"] == "out-500":
            wait_until(lambda: (self._folder / "killed").exists(), 20)
        yield element


def wait_until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within its time"
        threading.Event().wait(0.02)


def test_all_rows_arrive_within_5_s_of_the_service_s_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = BigQueryProcess.start(tmp_path / "data", log=tmp_path / "log")
    try:
        LocalBigQuery(process.rest).create("d")
        monkeypatch.setenv(EMULATOR_VARIABLE, process.grpc)
        append([row("before")])
        rows = [row(f"out-{number}") for number in range(1_500)]

        def run() -> None:
            with CheckedPipeline(runner="FnApiRunner") as pipeline:
                _ = (
                    pipeline
                    | beam.Create(rows, reshuffle=False)
                    | beam.ParDo(Metered(str(tmp_path)))
                    | AppendToBigQuery("local.d.telemetry", TELEMETRY, retry_seconds=60)
                )

        pipeline = threading.Thread(target=run)
        pipeline.start()
        wait_until((tmp_path / "reached").exists, 20)
        process.kill()
        (tmp_path / "killed").touch()
        pipeline.join(2.0)
        assert pipeline.is_alive(), "the bundle waits for the service"
        ports = [int(address.rpartition(":")[2]) for address in (process.rest, process.grpc)]
        process = BigQueryProcess.start(
            tmp_path / "data", log=tmp_path / "log", rest_port=ports[0], grpc_port=ports[1]
        )
        pipeline.join(5.0)
        assert not pipeline.is_alive(), "all rows are in within 5 s"
        found = LocalBigQuery(process.rest).query("SELECT DISTINCT message_id FROM d.telemetry")
        assert {line[0] for line in found.rows} == {r["message_id"] for r in rows} | {"before"}
    finally:
        process.stop()
        assert process.process.returncode is not None
    assert os.environ[EMULATOR_VARIABLE] == process.grpc
