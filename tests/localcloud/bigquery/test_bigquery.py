import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from localcloud.bigquery import BigQueryError, BigQueryNotReady, BigQueryProcess, LocalBigQuery
from schemas.tables import TABLES, VIEWS, Field, Table
from transforms.bigquery.rows import RowWriter
from transforms.bigquery.stream import EMULATOR_VARIABLE, AppendStream, TableName, open_client

NUMBERS = Table(name="numbers", schema_file="-", fields=(Field(name="n", type="INT64"),))
WRITER = RowWriter(NUMBERS.fields)


def numbers(process: BigQueryProcess, dataset: str = "d") -> AppendStream:
    """Return a stream of our own to the table of numbers."""
    name = TableName(project="local", dataset=dataset, table="numbers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EMULATOR_VARIABLE, process.grpc)
        return AppendStream(open_client(), name, WRITER.descriptor)


def append(stream: AppendStream, *values: int) -> None:
    response = stream.submit([WRITER.serialize({"n": value}) for value in values]).result(10)
    assert not response.error.code


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_for_is_kept(tmp_path: Path, end: signal.Signals) -> None:
    first = BigQueryProcess.start(tmp_path / "data", log=tmp_path / "log")
    LocalBigQuery(first.rest).create("d", [NUMBERS], [])
    stream = numbers(first)
    append(stream, 1, 2, 3)
    first.process.send_signal(end)
    assert first.process.wait(10) == (-9 if end is signal.SIGKILL else 0)
    stream.close()
    second = BigQueryProcess.start(tmp_path / "data", log=tmp_path / "log")
    try:
        client = LocalBigQuery(second.rest)
        assert client.query("SELECT COUNT(*), SUM(n) FROM d.numbers").rows == [(3, 6)]
        client.create("d", [NUMBERS], [])
        assert client.query("SELECT COUNT(*) FROM d.numbers").rows == [(3,)]
    finally:
        second.stop()


def test_queries_see_whole_appends_while_many_streams_append(process: BigQueryProcess) -> None:
    client = LocalBigQuery(process.rest)
    client.create("d", [NUMBERS], [])
    streams = [numbers(process) for _ in range(10)]  # more than asyncio's default threads
    for stream in streams:
        append(stream, 0)
    stop = threading.Event()

    def watch() -> list[tuple[int, int]]:
        counts = []
        while not stop.is_set():
            counts.append(client.query("SELECT COUNT(*), SUM(n) FROM d.numbers").rows[0])
        return counts

    with ThreadPoolExecutor() as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        try:
            for _ in range(20):
                for stream in streams:
                    append(stream, 1, 1, 1)
        finally:
            stop.set()
    counts = [count for watcher in watchers for count in watcher.result()]
    for stream in streams:
        stream.close()
    assert client.query("SELECT COUNT(*), SUM(n) FROM d.numbers").rows == [(610, 600)]
    assert len(counts) > 2
    assert all(total == count - 10 and total % 3 == 0 for count, total in counts)


def test_our_tables_and_views_can_be_queried(process: BigQueryProcess) -> None:
    client = LocalBigQuery(process.rest)
    client.create("mqttbeam")
    for name in (*(table.name for table in TABLES), *(view.name for view in VIEWS)):
        assert client.query(f"SELECT COUNT(*) FROM mqttbeam.{name}").rows == [(0,)]
    result = client.query(
        "SELECT 1 AS i, 1.5 AS f, TRUE AS b, 'x' AS s, NULL AS n, [1, 2] AS a, b'xy' AS y, "
        "JSON '{\"a\": 1}' AS j, TIMESTAMP '2026-01-31 12:00:00.123456+00' AS t"
    )
    assert result.columns == ("i", "f", "b", "s", "n", "a", "y", "j", "t")
    noon = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    assert result.rows == [(1, 1.5, True, "x", None, [1, 2], b"xy", {"a": 1}, noon)]


@pytest.mark.parametrize(
    ("sql", "words"), [("SELEKT 1", "SELEKT"), ("SELECT * FROM d.nowhere", "nowhere")]
)
def test_a_query_that_can_t_be_answered_says_why(
    process: BigQueryProcess, sql: str, words: str
) -> None:
    with pytest.raises(BigQueryError, match=words):
        LocalBigQuery(process.rest).query(sql)


def test_no_service_is_one_clear_error() -> None:
    with pytest.raises(BigQueryError, match=r"no answer from the local BigQuery at 127\.0\.0\.1:1"):
        LocalBigQuery("127.0.0.1:1").query("SELECT 1")


def test_a_port_in_use_is_refused_rather_than_shared(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BigQueryNotReady, match=f"port {port} of 127"):
            BigQueryProcess.start(tmp_path / "data", log=tmp_path / "log", grpc_port=port)


def test_a_stream_that_idles_is_not_ended_for_its_pings(process: BigQueryProcess) -> None:
    eager = (("grpc.keepalive_time_ms", 1_000), ("grpc.http2.max_pings_without_data", 0))
    with grpc.insecure_channel(process.grpc, options=eager) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", None, None)
        # By default gRPC's servers end a connection at the third ping within five minutes.
        with pytest.raises(grpc.RpcError) as ended:
            list(watch(b"", timeout=4))
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED, ended.value.details()


def test_the_help_is_all_that_is_printed() -> None:
    command = [sys.executable, "-m", "localcloud.bigquery", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.startswith("usage: python -m localcloud.bigquery")
    assert printed.stderr == ""


def test_memory_stays_where_it_is_as_queries_are_asked(process: BigQueryProcess) -> None:
    client = LocalBigQuery(process.rest)
    client.create("m", [NUMBERS], [])
    stream = numbers(process, "m")
    append(stream, *range(5_000))
    stream.close()

    def resident_mib() -> float:
        pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def ask(times: int) -> None:
        for _ in range(times):
            client.query("SELECT n FROM m.numbers")

    ask(5)
    before = resident_mib()
    ask(10)
    assert client._request("GET", "/jobs").get("jobs", []) == [], "results are not kept"
    assert resident_mib() < before + 20
