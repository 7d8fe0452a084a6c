import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localcloud.devices.errors import RecordingError
from localcloud.devices.recording import Recording, device_id, find_columns, parse_moment


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recording.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("names", "device", "time"),
    [
        (["timestamp", "device", "temperature"], 1, 0),
        (["Time", "Sensor ID", "value"], 1, 0),
        (["id", "ts", "co", "lpg"], 0, 1),
        (["name", "value", "date"], 0, 2),
        (["id", "deviceId", "v", "DateTime"], 1, 3),
    ],
)
def test_the_usual_names_are_known(names: list[str], device: int, time: int) -> None:
    columns = find_columns(names)
    assert (columns.device, columns.time) == (device, time)
    assert len(columns.readings) == len(names) - 2


def test_columns_can_be_named() -> None:
    columns = find_columns(["wo", "wann", "grad"], device="wo", time="wann")
    assert columns.readings == ((2, "grad"),)


def test_columns_that_can_t_be_told_are_listed() -> None:
    with pytest.raises(RecordingError, match=r"device can't be told.*'wo', 'time', 'grad'"):
        find_columns(["wo", "time", "grad"])
    with pytest.raises(RecordingError, match="no column 'x'; the columns are 'wo', 'time'"):
        find_columns(["wo", "time"], device="x")
    with pytest.raises(RecordingError, match="column 'x' is there twice"):
        find_columns(["device", "x", "time", " x "])
    with pytest.raises(RecordingError, match="no reading is left"):
        find_columns(["device", "time"])


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z", "2026-01-31 12:00:00", "2026-01-31T13:00:00+01:00",
        "1769860800", "1769860800.0", "1769860800000", "1769860800000000", "1.7698608e9",
        "1769860800000000000",
    ],
)  # fmt: skip
def test_iso_8601_and_numbers_since_the_epoch_are_times(text: str) -> None:
    assert parse_moment(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "20260131", "20260131.0", "20260131T00Z", "20260131T010000+0100", "202601310000",
        "20260131000000",
    ],
)  # fmt: skip
def test_compact_dates_are_no_seconds_since_1970(text: str) -> None:
    assert parse_moment(text) == datetime(2026, 1, 31, tzinfo=UTC)


def test_milliseconds_of_twelve_digits_are_before_2001() -> None:
    assert parse_moment("946684800000") == datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "noon", "nan", "31/01/2026", "20261301", "86400000"])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_moment(text)


def test_rows_keep_their_order_and_their_own_times(tmp_path: Path) -> None:
    head = "\ufefftime;device;temperature;humidity\n"
    text = head + "1769860800;b/1;21.5;\n1769860700;a;-3;wet\n\n1769860700;a;1_0;\n"
    recording = Recording(_file(tmp_path, text))
    assert recording.device_ids == ("b-1", "a")
    assert recording.rows == 3
    first, second, third = recording.readings()
    assert first.time == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert json.loads(first.payload)["readings"] == {"temperature": 21.5}
    assert json.loads(second.payload)["readings"] == {"temperature": -3, "humidity": "wet"}
    assert json.loads(third.payload)["readings"] == {"temperature": "1_0"}
    assert recording.told == ()


def test_what_is_left_out_is_told_with_its_first_lines(tmp_path: Path) -> None:
    good = "a,1769860800,1,2\n"
    rows = [
        "a,noon,1,2\n", good, ",1769860800,1,2\n", "a,,1,2\n", "a,,1,2\n", "a,never,1,2\n",
        "a,1769860800,,\n", "a,1769860800,nan,1e400\n", "a,1769860800,-Infinity,5\n",
        "a,1769860800,7,8,9,,10\n", "a,1769860800,6\n", "\n", "a\n", ",,,\n", good,
    ]  # fmt: skip
    recording = Recording(_file(tmp_path, "device,time,x,y\n" + "".join(rows)))
    assert recording.rows == 5
    assert recording.told == (
        f"{recording.path}: 5 rows are replayed, but",
        "2 rows left out: no device id (first in line 4, 15)",
        "5 rows left out: no time that is ISO 8601 or a number since 1970 (first in line 2, 5, 6)",
        "2 rows left out: no reading in them (first in line 8, 9)",
        "3 cells left out: NaN, Infinity or too large for a number (first in line 9, 10)",
        "2 cells left out: more of them than columns (first in line 11)",
        "1 row sent without the last columns: too few cells (first in line 12)",
    )
    sent = [json.loads(reading.payload)["readings"] for reading in recording.readings()]
    assert sent == [{"x": 1, "y": 2}, {"y": 5}, {"x": 7, "y": 8}, {"x": 6}, {"x": 1, "y": 2}]


def test_cells_of_a_column_without_a_name_are_told(tmp_path: Path) -> None:
    recording = Recording(_file(tmp_path, ",device,time,x\n0,a,1769860800,1\n"))
    assert recording.told[1] == "1 cell left out: their column has no name (first in line 2)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty"),
        ("device,time,x\n", "has no rows"),
        ("device,time,x\na,noon,1\n", "no row that can be replayed: 1 row left out: no time"),
        ("device,time,x,x\na,1769860800,1,2\n", "line 1: column 'x' is there twice"),
        ("device,time,x\na/b,1,1\na+b,1,1\n", "'a/b' and 'a.b' would both become"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        Recording(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['a,1,"1', "b,2,2", "c,3,3"], "line 3: a quoted cell that begins here is not closed"),
        (['a,1,"1', 'b,2,"2"', "c,3,3"], "line 3: a quoted cell that begins here is not closed"),
        (['a,1,"1', '2"', 'b,2,"3', "c,3,3"], "line 5: a quoted cell that begins here"),
        (['a,1,"1"2', "b,2,2"], r'line 3: .* expected after .*; quotes \("\) stand around'),
        (['a,1,"1', *["b,2,2"] * 30_000], r"line 3: .*field larger than field limit"),
        (["a,1," + "1" * 200_000], r"line 3: field larger than field limit \(131072\)$"),
    ],
)
def test_a_quote_that_is_never_closed_swallows_no_rows(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    good = "a,1769860800,1"
    with pytest.raises(RecordingError, match=message):
        Recording(_file(tmp_path, "\n".join(["device,time,x", good, *rows, ""])))


def test_quoted_cells_may_hold_quotes_and_lines(tmp_path: Path) -> None:
    recording = Recording(_file(tmp_path, 'device,time,x\na,1,"1 ""2""\n3"\nb,2,4" pipe\n'))
    sent = [json.loads(reading.payload)["readings"]["x"] for reading in recording.readings()]
    assert sent == ['1 "2"\n3', '4" pipe']


def test_a_file_that_is_no_utf_8_is_refused_with_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "recording.csv"
    path.write_bytes("device,time,x\na,1,é\n".encode() + "a,1,é\n".encode("latin-1"))
    with pytest.raises(RecordingError, match=r"line 3, byte 5: 0xe9 is no .*; save it as UTF-8"):
        Recording(path)
    path.write_bytes("device,time,x\na,1,1\n".encode("utf-16"))
    with pytest.raises(RecordingError, match="line 1, byte 1: 0xff is no UTF-8"):
        Recording(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.csv can't be read: No such file"):
        Recording(tmp_path / "none.csv")


def test_names_become_device_ids() -> None:
    assert device_id(" Kitchen / oven#2 ") == "Kitchen-oven-2"
