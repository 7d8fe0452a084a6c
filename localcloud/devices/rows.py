"""A CSV file's rows, or the line in which it stops being one.

UTF-8; the delimiter (comma, semicolon, tab, bar) is found out. A quoted cell may hold lines, so
a quote that is never closed would swallow all rows behind it: it is refused, not guessed at.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from localcloud.devices.errors import RecordingError

_SAMPLE_CHARACTERS = 16_384


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give each row with the number of its last line, counted from 1.

    Raises RecordingError that names the file, the line and what would be right.
    """
    lines = _Lines()
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(_SAMPLE_CHARACTERS)
            file.seek(0)
            rows = csv.reader(lines.of(file), delimiter=_delimiter(sample), strict=True)
            for row in rows:
                lines.next_row()
                yield rows.line_num, row
    except OSError as error:
        raise RecordingError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path} {_undecodable(path)}") from None
    except csv.Error as error:
        raise RecordingError(f"{path} {lines.told(error)}") from None


class _Lines:
    """The lines of the row that is being read, so that a quote that breaks it can be shown."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._before = 0

    def of(self, file: Iterable[str]) -> Iterator[str]:
        """Give the lines on."""
        for line in file:
            self._lines.append(line)
            yield line

    def next_row(self) -> None:
        """A row is whole."""
        self._before += len(self._lines)
        self._lines.clear()

    def told(self, error: csv.Error) -> str:
        """Say where and why the row can't be read."""
        opened, is_open = self._before + 1, False
        for number, line in enumerate(self._lines, opened):
            # A quote within quotes is written twice, so an odd number opens or closes them.
            if line.count('"') % 2:
                is_open = not is_open
                opened = number if is_open else opened
        if is_open or len(self._lines) > 1:
            return (
                f"line {opened}: a quoted cell that begins here is not closed where it should be"
                f" (the reader stopped in line {self._before + len(self._lines)}: {error}); put a"
                ' quote (") behind the cell, and write one within it twice ("")'
            )
        if '"' not in "".join(self._lines):
            return f"line {opened}: {error}"
        return (
            f'line {opened}: {error}; quotes (") stand around a whole cell, and one within'
            ' is written twice ("")'
        )


def _undecodable(path: Path) -> str:
    """Say where a file stops being UTF-8: its line and the byte within, both counted from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f"line {number}, byte {error.start + 1}: {line[error.start]:#04x} is no UTF-8"
                    ' text; save it as UTF-8 (spreadsheets call it "CSV UTF-8")'
                )
    return "was no UTF-8 text a moment ago, and is now: it is being written to"


def _delimiter(sample: str) -> str:
    """Return the delimiter that the first line holds most often."""
    first = next(itertools.islice(sample.splitlines(), 1), "")
    return max(",;\t|", key=first.count)
