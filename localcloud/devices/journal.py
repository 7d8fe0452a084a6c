"""What the devices know for certain, as a file that a run is judged by.

One fact a line, written as it happens, so that memory does not grow with the run:

    acknowledged <message id>           the broker's PUBACK for it came
    malformed <message id>              the same, for a payload that was broken on purpose
    command <device id> <command id>    the device received this command (the first time)
    end                                 the process ended well: nothing was left unacknowledged

The message id is the run, the message's number and the time of its publishing in microseconds
since the epoch, the last two in hexadecimal: `x7f3kq-1a4-63b0c1d2e3f40`. So whoever sees the
message knows how old it is, also where its event time is that of an old recording.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from localcloud.devices.errors import JournalError

_MESSAGE_ID = re.compile(r"[a-z0-9]+-[0-9a-f]+-([0-9a-f]+)")


class MessageIds:
    """Gives each message of a run its id."""

    def __init__(self, run_id: str) -> None:
        if not re.fullmatch(r"[a-z0-9]+", run_id):
            raise ValueError(f"run id {run_id!r}: lower-case letters and digits only")
        self._run_id = run_id
        self._number = 0

    def next(self, now_seconds: float) -> str:
        """Return the id of the next message, published at this time since the epoch."""
        self._number += 1
        return f"{self._run_id}-{self._number:x}-{int(now_seconds * 1_000_000):x}"


def published_at(message_id: str) -> float | None:
    """Return when the message was published, in seconds since the epoch; None if not ours."""
    found = _MESSAGE_ID.fullmatch(message_id)
    return int(found[1], 16) / 1_000_000 if found else None


class JournalWriter:
    """Writes a journal; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def acknowledged(self, message_id: str, *, malformed: bool) -> None:
        """Note a PUBACK."""
        self._file.write(f"{'malformed' if malformed else 'acknowledged'} {message_id}\n")

    def command(self, device_id: str, command_id: str) -> None:
        """Note a command's first arrival."""
        self._file.write(f"command {device_id} {command_id}\n")

    def flush(self) -> None:
        """Hand what was noted to the system."""
        self._file.flush()

    def end(self) -> None:
        """Note that nothing is outstanding."""
        self._file.write("end\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """A journal that was read: distinct ids, `malformed` being part of `acknowledged`."""

    acknowledged: frozenset[str]
    malformed: frozenset[str]
    commands: frozenset[str]
    complete: bool


def read(path: Path) -> Journal:
    """Read a journal; raises JournalError for a line it does not know."""
    acknowledged, malformed, commands = set(), set(), set()
    complete = False
    for line in _lines(path):
        match line.rsplit(" ", 1):
            case ["acknowledged", message_id]:
                acknowledged.add(message_id)
            case ["malformed", message_id]:
                acknowledged.add(message_id)
                malformed.add(message_id)
            case [command, command_id] if command.startswith("command "):
                commands.add(command_id)
            case ["end"]:
                complete = True
            case _:
                raise JournalError(f"{path}: {line!r} is no line of a journal")
    return Journal(
        acknowledged=frozenset(acknowledged),
        malformed=frozenset(malformed),
        commands=frozenset(commands),
        complete=complete,
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n")
    except OSError as error:
        raise JournalError(f"{path} can't be read: {error.strerror}") from None
