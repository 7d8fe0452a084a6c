"""The archive's files, loaded by the jobs that load them into Google's BigQuery."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest
from google.cloud.bigquery import LoadJobConfig

from localcloud.bigquery import BigQueryProcess, LocalBigQuery
from schemas.tables import TELEMETRY
from tests.harness.bigquery_load import load
from tests.transforms.archive.messages import NOON, PAYLOAD, message
from transforms.archive.container import AvroCodec, Container
from transforms.archive.naming import Place, file_name, hour_of
from transforms.archive.record import SCHEMA, RecordEncoder

PAGE = (Path(__file__).parents[3] / "docs" / "pipelines.md").read_text()


def file_of(path: Path, codec: AvroCodec, numbers: range, *, bad: int) -> Path:
    """Writes an archive's file; some of its messages can't be decoded."""
    encoder = RecordEncoder(origin="sub", default_schema_id=None)
    container = Container(SCHEMA, codec)
    for number in numbers:
        data = b"\xff" if number < bad else PAYLOAD
        container.add(encoder.encode(message(number, data=data)).data)
    path.write_bytes(container.finish())
    return path


def names_in(kind: Any) -> set[str]:
    """All names, and their namespaces, in an Avro schema."""
    if isinstance(kind, list):
        return set().union(*map(names_in, kind))
    if not isinstance(kind, dict):
        return set()
    own = {kind[key] for key in ("name", "namespace") if key in kind}
    return own.union(*(names_in(value) for value in kind.values()))


@pytest.mark.parametrize("codec", [AvroCodec.NULL, AvroCodec.DEFLATE])
def test_as_many_rows_are_loaded_as_messages_were_archived(
    process: BigQueryProcess, tmp_path: Path, codec: AvroCodec
) -> None:
    client = LocalBigQuery(process.rest)
    client.create("avro", [], [])
    files = [
        file_of(tmp_path / "a.avro", codec, range(2_000), bad=3),
        file_of(tmp_path / "b.avro", codec, range(2_000, 2_050), bad=0),
    ]
    load(process.rest, f"avro.{codec.value}", files, SCHEMA)
    counted = client.query(
        "SELECT COUNT(*), COUNT(DISTINCT pubsub_message_id), COUNTIF(rejected_reason IS NOT NULL),"
        f" COUNT(message_id) FROM avro.{codec.value}"
    )
    assert counted.rows == [(2_050, 2_050, 3, 2_047)]


def test_columns_have_the_types_that_the_table_has(
    process: BigQueryProcess, tmp_path: Path
) -> None:
    client = LocalBigQuery(process.rest)
    client.create("typed", [TELEMETRY], [])
    path = file_of(tmp_path / "a.avro", AvroCodec.DEFLATE, range(2), bad=1)
    load(process.rest, "typed.archive", [path], SCHEMA)
    archived = client.query("SELECT * FROM typed.archive ORDER BY pubsub_message_id")
    table = client.query("SELECT * FROM typed.telemetry")
    count = len(TELEMETRY.fields)
    assert archived.columns[:count] == table.columns
    assert archived.types[:count] == table.types
    refused, row = (dict(zip(archived.columns, each, strict=True)) for each in archived.rows)
    assert (row["published_time"], row["payload"]) == (NOON, json.loads(PAYLOAD))
    assert (row["raw"], refused["raw"], refused["payload"]) == (PAYLOAD, b"\xff", None)
    attribute = client.query(
        "SELECT a.value FROM typed.archive, UNNEST(attributes) AS a"
        " WHERE a.key = 'deviceId' AND rejected_reason IS NULL"
    )
    assert attribute.rows == [("pump-7",)]


def test_what_was_archived_can_be_put_into_the_table(
    process: BigQueryProcess, tmp_path: Path
) -> None:
    client = LocalBigQuery(process.rest)
    client.create("again", [TELEMETRY], [])
    path = file_of(tmp_path / "a.avro", AvroCodec.DEFLATE, range(10), bad=2)
    load(process.rest, "again.archive", [path], SCHEMA)
    (insert,) = re.findall(r"^INSERT INTO iot\.telemetry.*?(?=```)", PAGE, re.MULTILINE | re.DOTALL)
    client.query(insert.replace("iot.", "again."))
    assert client.query("SELECT COUNT(*) FROM again.telemetry").rows == [(8,)]


def test_the_command_of_the_page_asks_for_this_job_and_finds_the_files() -> None:
    (command,) = re.findall("^bq load .*$", PAGE, re.MULTILINE)
    bq, load_, *flags, table, files = shlex.split(command)
    assert (bq, load_) == ("bq", "load")
    # bq's flags are the job's fields in snake case; these are the ones that the jobs above have.
    job = LoadJobConfig(source_format="AVRO", use_avro_logical_types=True).to_api_repr()["load"]
    snake = {re.sub("[A-Z]", lambda found: "_" + found[0].lower(), key): job[key] for key in job}
    given = dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
    assert given == {key: "" if value is True else value for key, value in snake.items()}
    assert re.fullmatch(r"[a-z-]+:\w+\.\w+", table)
    assert files.count("*") == 1, "BigQuery takes one wildcard"
    at = datetime(2026, 11, 23, 6, tzinfo=UTC)
    for late in (False, True):
        place = Place(hour=hour_of(at), late=late, shard=0)
        name = file_name(place, begun=at, writer="w", number=1, shards=1)
        assert fnmatch(f"gs://my-bucket/archive/{name}", files)


def test_every_name_is_one_that_bigquery_loads() -> None:
    names = names_in(dict(SCHEMA))
    assert len(names) > len(TELEMETRY.fields)
    assert [name for name in names if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)] == []


def test_a_file_that_is_cut_off_is_not_loaded(process: BigQueryProcess, tmp_path: Path) -> None:
    LocalBigQuery(process.rest).create("cut", [], [])
    path = file_of(tmp_path / "a.avro", AvroCodec.DEFLATE, range(100), bad=0)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadRequest, match="Cannot read file block"):
        load(process.rest, "cut.archive", [path], SCHEMA)
    assert LocalBigQuery(process.rest).query("SELECT COUNT(*) FROM cut.archive").rows == [(0,)]
