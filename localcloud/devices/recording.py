"""A recording, a CSV file, as readings: one column names the device, one the time.

The first line names the columns.
Cells of the other columns are readings, as numbers where they are some and as text where not.
A time is ISO 8601 (UTC where it names no zone) or seconds, milliseconds, microseconds or
nanoseconds since the epoch, told apart by size. 20260131, 202601311015 and
20260131101500 are dates too: as numbers they would be times that no recording has.

The whole file is read when it is opened. Rows and cells that can't be replayed are left out, and
counted with their first lines, so that it is known before anything starts.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from localcloud.devices.errors import RecordingError
from localcloud.devices.reading import Reading, encode
from localcloud.devices.rows import read_rows
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
SHOWN_LINES = 3
# JSON's numbers and what spreadsheets make of them; Python's float takes 1_000 and more besides.
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
# Counted from the epoch they would be 1970, 1976 (in milliseconds), and 2286 and later.
_COMPACT = re.compile(r"(\d{8}|(?:19|20)\d{10}|\d{14})(\.0*)?")
_COMPACT_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class Flaw(Enum):
    """Why something of a recording is not replayed as it stands: what it is, and the reason."""

    NO_DEVICE = ("row", "left out: no device id")
    NO_TIME = ("row", "left out: no time that is ISO 8601 or a number since 1970")
    NO_READING = ("row", "left out: no reading in them")
    NOT_FINITE = ("cell", "left out: NaN, Infinity or too large for a number")
    NO_COLUMN = ("cell", "left out: more of them than columns")
    NO_NAME = ("cell", "left out: their column has no name")
    SHORT = ("row", "sent without the last columns: too few cells")


class Flaws:
    """Counts flaws, and keeps the first lines of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[Flaw] = Counter()
        self._lines: dict[Flaw, list[int]] = {}

    def add(self, flaw: Flaw, line: int, count: int = 1) -> None:
        """Count some in a line of the file; no flaw if the count is 0."""
        if not count:
            return
        self._counts[flaw] += count
        lines = self._lines.setdefault(flaw, [])
        if len(lines) < SHOWN_LINES and line not in lines:
            lines.append(line)

    def told(self) -> tuple[str, ...]:
        """Return a line of text for each kind."""
        return tuple(self._told(flaw) for flaw in Flaw if self._counts[flaw])

    def _told(self, flaw: Flaw) -> str:
        (what, why), count = flaw.value, self._counts[flaw]
        lines = ", ".join(map(str, self._lines[flaw]))
        return f"{count} {what}{'s' * (count > 1)} {why} (first in line {lines})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where in a row the device, the time and the readings stand, counted from 0.

    `count` is how many columns the first line names, `nameless` those whose name is empty.
    """

    device: int
    time: int
    readings: tuple[tuple[int, str], ...]
    nameless: tuple[int, ...]
    count: int


def find_columns(
    names: Sequence[str], *, device: str | None = None, time: str | None = None
) -> Columns:
    """Tell which column is which, by the given names or by the usual ones.

    Raises RecordingError that names the columns found, or one that is there twice.
    """
    names = [name.strip() for name in names]
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise RecordingError(f"column {twice[0]!r} is there twice: rename one of them")
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
        (place, name)
        for place, name in enumerate(names)
        if place not in (at_device, at_time) and name
    )
    if not readings:
        raise RecordingError(f"beside device and time no reading is left of {_listed(names)}")
    return Columns(
        device=at_device,
        time=at_time,
        readings=readings,
        nameless=tuple(place for place, name in enumerate(names) if not name),
        count=len(names),
    )


def parse_moment(text: str) -> datetime:
    """Read a time: ISO 8601, or a number since the epoch; raises ValueError."""
    text = text.strip()
    if compact := _COMPACT.fullmatch(text):
        digits = compact[1]
        return datetime.strptime(digits, _COMPACT_FORMATS[len(digits)]).replace(tzinfo=UTC)
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
    """A recording that was read through once.

    `rows` counts those that are replayed; `told` says, in lines for a person, what is left out
    and why, and is empty where nothing is. Raises RecordingError that names the file, the line
    and what would be right, also where no row is left.
    """

    def __init__(
        self, path: Path, *, device_column: str | None = None, time_column: str | None = None
    ) -> None:
        self.path = path
        self._device_column, self._time_column = device_column, time_column
        names: dict[str, str] = {}
        self.rows = 0
        flaws = Flaws()
        for line, name, _ in self._parsed(flaws):
            self.rows += 1
            made = device_id(name)
            if (other := names.setdefault(made, name)) != name:
                raise RecordingError(
                    f"{path} line {line}: devices {other!r} and {name!r} "
                    f"would both become device id {made!r}"
                )
        told = flaws.told()
        if not self.rows and told:
            raise RecordingError(f"{path} has no row that can be replayed: {'; '.join(told)}")
        if not self.rows:
            raise RecordingError(f"{path} has no rows beside its first line")
        self.device_ids = tuple(names)
        self.told = (f"{path}: {self.rows} rows are replayed, but", *told) if told else ()

    def readings(self) -> Iterator[Reading]:
        """Give the rows as readings, in the file's order, with their own times."""
        for _, _, reading in self._parsed(Flaws()):
            yield reading

    def _parsed(self, flaws: Flaws) -> Iterator[tuple[int, str, Reading]]:
        rows = read_rows(self.path)
        line, names = next(rows, (1, None))
        try:
            if names is None:
                raise RecordingError("the file is empty")
            columns = find_columns(names, device=self._device_column, time=self._time_column)
        except RecordingError as error:
            raise RecordingError(f"{self.path} line {line}: {error}") from None
        for line, row in rows:
            # A blank line is none of the recording's rows.
            if len(row) <= 1 and not any(cell.strip() for cell in row):
                continue
            if reading := _reading(row, columns, line, flaws):
                yield line, row[columns.device], reading


def _reading(row: Sequence[str], columns: Columns, line: int, flaws: Flaws) -> Reading | None:
    """Return what a row says, and count what it does not; None where it is left out."""
    try:
        made = check_device_id(device_id(_cell(row, columns.device)))
    except InvalidTopicPart:
        flaws.add(Flaw.NO_DEVICE, line)
        return None
    try:
        time = parse_moment(_cell(row, columns.time))
    except (ValueError, OverflowError, OSError):
        flaws.add(Flaw.NO_TIME, line)
        return None
    values: dict[str, float | str] = {}
    for place, name in columns.readings:
        value = _value(_cell(row, place))
        if isinstance(value, float) and not math.isfinite(value):
            flaws.add(Flaw.NOT_FINITE, line)  # JSON has none
        elif value is not None:
            values[name] = value
    flaws.add(Flaw.NO_COLUMN, line, sum(bool(cell.strip()) for cell in row[columns.count :]))
    flaws.add(Flaw.NO_NAME, line, sum(bool(_cell(row, place)) for place in columns.nameless))
    if not values:
        flaws.add(Flaw.NO_READING, line)
        return None
    flaws.add(Flaw.SHORT, line, len(row) < columns.count)
    return Reading(device_id=made, time=time, payload=encode(time, values))


def _cell(row: Sequence[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _value(cell: str) -> float | str | None:
    return float(cell) if _NUMBER.fullmatch(cell) else cell or None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
