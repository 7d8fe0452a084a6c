"""A recording, a CSV file, as readings: one column names the device, one the time.

The first line names the columns; the delimiter is found out (comma, semicolon, tab, bar).
Cells of the other columns are readings, as numbers where they are some and as text where not;
empty ones and NaN are left out. A time is ISO 8601 (UTC where it names no zone) or
seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by size.
The whole file is checked when it is opened: a bad line is found before anything starts.
"""

import csv
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from localcloud.devices.errors import RecordingError
from localcloud.devices.reading import Reading, encode
from schemas.errors import InvalidTopicPart
from schemas.layout import check_device_id

# The first of these that is there is taken; names are compared without case and punctuation.
DEVICE_NAMES = (
    "deviceid", "device", "devicename", "sensorid", "sensor", "sensorname", "nodeid", "node",
    "meterid", "meter", "stationid", "station", "machineid", "machine", "host", "hostname",
    "clientid", "mac", "id", "name",
)  # fmt: skip
TIME_NAMES = (
    "timestamp", "eventtime", "datetime", "time", "ts", "date", "utc", "measuredat",
    "recordedat", "createdat", "epoch", "unixtime",
)  # fmt: skip
_SAMPLE_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where in a row the device, the time and the readings stand, counted from 0."""

    device: int
    time: int
    readings: tuple[tuple[int, str], ...]


def find_columns(
    names: Sequence[str], *, device: str | None = None, time: str | None = None
) -> Columns:
    """Tell which column is which, by the given names or by the usual ones.

    Raises RecordingError that names the columns found.
    """
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]

    def find(what: str, given: str | None, usual: Sequence[str]) -> int:
        if given is not None:
            if given in names:
                return names.index(given)
            raise RecordingError(f"no column {given!r}; the columns are {_listed(names)}")
        for name in usual:
            if name in plain:
                return plain.index(name)
        raise RecordingError(
            f"which column names the {what} can't be told; the columns are {_listed(names)}: "
            f"name it by --{what}-column"
        )

    at_device = find("device", device, DEVICE_NAMES)
    at_time = find("time", time, TIME_NAMES)
    if at_device == at_time:
        raise RecordingError(f"column {names[at_time]!r} can't be both the device and the time")
    readings = tuple(
        (place, name.strip())
        for place, name in enumerate(names)
        if place not in (at_device, at_time) and name.strip()
    )
    if not readings:
        raise RecordingError(f"beside device and time no reading is left of {_listed(names)}")
    return Columns(device=at_device, time=at_time, readings=readings)


def parse_moment(text: str) -> datetime:
    """Read a time: ISO 8601, or a number since the epoch; raises ValueError."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no time")
    # 10**11 seconds is the year 5138; as milliseconds it is 1973.
    while abs(number) >= 1e11:
        number /= 1000
    return datetime.fromtimestamp(number, UTC)


def device_id(name: str) -> str:
    """Make a device id of a name in a recording: what the broker's registry can't hold is `-`."""
    return re.sub(r"[^A-Za-z0-9._~:@=-]+", "-", name.strip()).lstrip("-._~:@=")[:128]


class Recording:
    """A recording that was read through once and found good.

    Raises RecordingError that names the file, the line and what would be right.
    """

    def __init__(
        self, path: Path, *, device_column: str | None = None, time_column: str | None = None
    ) -> None:
        self.path = path
        self._device_column, self._time_column = device_column, time_column
        names: dict[str, str] = {}
        self.rows = 0
        for line, name, _ in self._parsed():
            self.rows += 1
            made = device_id(name)
            if (other := names.setdefault(made, name)) != name:
                raise RecordingError(
                    f"{path} line {line}: devices {other!r} and {name!r} "
                    f"would both become device id {made!r}"
                )
        if not self.rows:
            raise RecordingError(f"{path} has no rows beside its first line")
        self.device_ids = tuple(names)

    def readings(self) -> Iterator[Reading]:
        """Give the rows as readings, in the file's order, with their own times."""
        for _, _, reading in self._parsed():
            yield reading

    def _parsed(self) -> Iterator[tuple[int, str, Reading]]:
        line = 1
        try:
            # utf-8-sig: spreadsheets write a byte order mark.
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                sample = file.read(_SAMPLE_CHARACTERS)
                file.seek(0)
                rows = csv.reader(file, delimiter=_delimiter(sample))
                names = next(rows, None)
                if names is None:
                    raise RecordingError("the file is empty")
                columns = find_columns(names, device=self._device_column, time=self._time_column)
                for row in rows:
                    line = rows.line_num
                    if any(cell.strip() for cell in row):
                        yield line, row[columns.device] if row else "", _reading(row, columns)
        except OSError as error:
            raise RecordingError(f"{self.path} can't be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise RecordingError(f"{self.path} is no UTF-8 text: {error.reason}") from None
        except (RecordingError, csv.Error) as error:
            raise RecordingError(f"{self.path} line {line}: {error}") from None


def _reading(row: Sequence[str], columns: Columns) -> Reading:
    if len(row) <= max(columns.device, columns.time):
        raise RecordingError(f"only {len(row)} cells: the device or the time is missing")
    try:
        made = check_device_id(device_id(row[columns.device]))
    except InvalidTopicPart as error:
        raise RecordingError(str(error)) from None
    try:
        time = parse_moment(row[columns.time])
    except (ValueError, OverflowError, OSError):
        raise RecordingError(
            f"{row[columns.time]!r} is neither an ISO 8601 time such as 2026-01-31T12:00:00Z "
            "nor a number of seconds or milliseconds since 1970"
        ) from None
    values = {
        name: value
        for place, name in columns.readings
        if place < len(row) and (value := _value(row[place].strip())) is not None
    }
    return Reading(device_id=made, time=time, payload=encode(time, values))


def _value(cell: str) -> float | str | None:
    try:
        number = float(cell)
    except ValueError:
        return cell or None
    # JSON has no NaN and no infinity.
    return number if math.isfinite(number) else None


def _delimiter(sample: str) -> str:
    """Return the delimiter that the first line holds most often."""
    first = next(itertools.islice(sample.splitlines(), 1), "")
    return max(",;\t|", key=first.count)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
