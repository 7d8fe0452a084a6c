from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as CheckedPipeline
from apache_beam.testing.util import assert_that, equal_to

from schemas.messages import Rejected
from schemas.tables import DEAD_LETTERS
from transforms.bigquery.rows import RowWriter
from transforms.dead_letter import (
    MAXIMUM_INLINE_BYTES,
    RejectedToPubSub,
    RejectedToRows,
    Stored,
    dead_letter_message,
    dead_letter_row,
    rejected_from_message,
    store,
)
from transforms.pubsubio.limits import refusal

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HUGE = b"x" * (MAXIMUM_INLINE_BYTES + 1)


def rejected(
    raw: bytes = b"\xff", origin: str = "devices/a/telemetry", **attributes: str
) -> Rejected:
    return Rejected(
        stage="decode", reason="no", origin=origin, raw=raw, time=NOON, attributes=attributes
    )


@pytest.mark.parametrize(
    "letter",
    [
        rejected(deviceId="a", mqttTopic="devices/a/telemetry"),
        rejected(raw=b""),
        rejected(origin="devices/" + "ü" * 3_000, mqttTopic="t" * 5_000),
        Rejected(stage="s", reason="r" * 3_000, origin="", raw=b"x", time=NOON),
    ],
)
def test_a_rejected_message_survives_the_dead_letter_topic(letter: Rejected) -> None:
    message = dead_letter_message(letter, Stored(letter.raw))
    assert message.data == letter.raw
    assert refusal(message.data, message.attributes) is None
    assert rejected_from_message(message.data, message.attributes) == letter


def test_attributes_without_room_are_named() -> None:
    crowd = {f"k{number}": "v" for number in range(100)}
    crowd |= {"googX": "y", "deadLetterStage": "forged", "lone": "\ud800"}
    letter = Rejected(stage="decode", reason="no", origin="o", raw=b"", time=NOON, attributes=crowd)
    message = dead_letter_message(letter, Stored(letter.raw))
    assert refusal(message.data, message.attributes) is None
    assert message.attributes["deadLetterStage"] == "decode"
    assert message.attributes["deadLetterDropped"].startswith("k")
    assert "googX, deadLetterStage" in message.attributes["deadLetterDropped"]


def test_bytes_too_large_go_to_a_blob_and_come_back(tmp_path: Path) -> None:
    letter = rejected(raw=HUGE, deviceId="a")
    folder = tmp_path / "new" / "blobs"
    stored = store(HUGE, str(folder))
    assert store(HUGE, str(folder)) == stored, "a repeat writes the same file"
    message = dead_letter_message(letter, stored)
    assert message.attributes["deadLetterTruncated"] == str(len(HUGE))
    assert message.attributes["deadLetterBlob"] == str(next(folder.iterdir()))
    assert HUGE.startswith(message.data)
    assert rejected_from_message(message.data, message.attributes) == letter


def test_without_a_blob_folder_the_letter_says_what_is_gone(tmp_path: Path) -> None:
    message = dead_letter_message(rejected(raw=HUGE), store(HUGE, None))
    assert message.attributes["deadLetterBlobError"] == "no blob folder is set"
    (tmp_path / "file").write_bytes(b"")
    unwritable = str(tmp_path / "file" / "folder")
    stored = store(HUGE, unwritable, retry_seconds=0)
    assert stored.blob is None
    assert unwritable in (stored.error or "")
    assert len(stored.inline) < 10_000


def test_every_row_can_be_taken_by_the_table() -> None:
    writer = RowWriter(DEAD_LETTERS.fields)
    for letter in (rejected(deviceId="a"), rejected(lone="\ud800"), rejected(raw=HUGE)):
        assert writer.serialize(dead_letter_row(letter, store(letter.raw, None)))


def test_a_message_that_is_no_dead_letter_is_refused() -> None:
    with pytest.raises(ValueError, match="deadLetterStage is missing"):
        rejected_from_message(b"", {"deviceId": "a"})


def test_rejected_becomes_messages_and_rows_in_a_pipeline() -> None:
    with CheckedPipeline(runner="FnApiRunner") as pipeline:
        letters = pipeline | beam.Create([rejected(deviceId="a")], reshuffle=False)
        assert_that(
            letters | RejectedToPubSub() | "Data" >> beam.Map(lambda message: message.data),
            equal_to([b"\xff"]),
            label="messages",
        )
        assert_that(
            letters | RejectedToRows() | "Bytes" >> beam.Map(lambda row: row["raw_bytes"]),
            equal_to([1]),
            label="rows",
        )
