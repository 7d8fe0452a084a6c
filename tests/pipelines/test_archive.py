from __future__ import annotations

import pytest

from pipelines.archive import ArchiveOptions
from pipelines.options import OptionError, parse_options
from pipelines.warehouse import WarehouseOptions
from transforms.archive import ArchiveSettings, AvroCodec

INPUT = "projects/some-project/subscriptions/telemetry-warehouse"
ARCHIVE = "projects/some-project/subscriptions/telemetry-archive"


def parse(*arguments: str) -> ArchiveOptions:
    argv = [f"--input_subscription={INPUT}", "--output_table=some-project:iot.t", *arguments]
    return parse_options(WarehouseOptions, argv, program="p", about="About it.")[0]


def refusal(*arguments: str) -> str:
    with pytest.raises(OptionError) as refused:
        parse(*arguments)
    return str(refused.value)


def test_without_a_folder_there_is_no_archive() -> None:
    assert parse().archives() is None


def test_a_default_that_is_spelt_out_needs_no_archive() -> None:
    assert parse("--archive_codec=deflate", "--archive_window_seconds=60").archives() is None


def test_an_archive_is_set_up_by_its_options() -> None:
    options = parse(
        f"--archive_subscription={ARCHIVE}",
        "--archive_folder=gs://bucket/archive",
        "--archive_window_seconds=300",
        "--archive_shards=4",
        "--archive_codec=null",
    )
    settings = ArchiveSettings(
        folder="gs://bucket/archive", window_seconds=300, shards=4, codec=AvroCodec.NULL
    )
    assert options.archives() == (ARCHIVE, settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--archive_folder=/a"], ["--archive_subscription is missing"]),
        ([f"--archive_subscription={ARCHIVE}"], ["--archive_folder is missing"]),
        (
            ["--archive_folder=/a", f"--archive_subscription={INPUT}"],
            ["--archive_subscription and --input_subscription must be two"],
        ),
        (
            ["--archive_codec=null"],
            ["--archive_codec needs --archive_folder and --archive_subscription"],
        ),
        (
            ["--archive_shards=4", "--archive_window_seconds=300"],
            ["--archive_window_seconds and --archive_shards need --archive_folder"],
        ),
        (["--archive_codec=snappy"], ["--archive_codec", "null, deflate, zstandard"]),
        (["--archive_window_seconds=0"], ["--archive_window_seconds", "1 to 600 seconds"]),
        (["--archive_shards=0"], ["--archive_shards", "1 to 100"]),
    ],
)
def test_what_can_not_be_right_is_refused_by_name(arguments: list[str], words: list[str]) -> None:
    said = refusal(*arguments)
    assert all(word in said for word in words), said
