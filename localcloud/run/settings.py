"""What a person asks of a run, checked before anything starts."""

import math
from dataclasses import dataclass
from pathlib import Path

MAXIMUM_DEVICES = 5_000
MAXIMUM_RATE_PER_SECOND = 20_000
DEFAULT_DEVICES = 25
DEFAULT_RATE_PER_SECOND = 100.0


class RunSettingsError(ValueError):
    """A setting that can't be: the message is one line that names it and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number that a person gives: its name for `make`, its option, and what it must be."""

    make: str
    option: str
    kind: type[int] | type[float]
    expected: str

    def read(self, text: str) -> float:
        """Return the number; raises RunSettingsError where the text is none."""
        try:
            return self.kind(text)
        except ValueError:
            raise self.refused(repr(text)) from None

    def refused(self, value: str) -> RunSettingsError:
        """Return the error for a value."""
        return RunSettingsError(f"{self.make} ({self.option}) is {value}: expected {self.expected}")


DEVICES = Number(
    make="DEVICES",
    option="--devices",
    kind=int,
    expected=f"a whole number from 0 to {MAXIMUM_DEVICES}",
)
RATE = Number(
    make="RATE",
    option="--rate",
    kind=float,
    expected=f"messages a second, more than 0 and at most {MAXIMUM_RATE_PER_SECOND}",
)
DURATION = Number(make="DURATION", option="--duration", kind=float, expected="seconds, more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """`devices` counts the simulated sensors, beside this machine itself; None: the default.
    Errors name each setting as `make` takes it and as the command line does.

    With `recording`, a CSV file, the devices are those that it names. Without
    `duration_seconds` the run goes on until it is stopped. Raises RunSettingsError.
    """

    devices: int | None = None
    rate_per_second: float = DEFAULT_RATE_PER_SECOND
    duration_seconds: float | None = None
    keep: bool = False
    recording: Path | None = None
    device_column: str | None = None
    time_column: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.devices is not None and not 0 <= self.devices <= MAXIMUM_DEVICES:
            raise DEVICES.refused(str(self.devices))
        if not 0 < self.rate_per_second <= MAXIMUM_RATE_PER_SECOND:
            raise RATE.refused(f"{self.rate_per_second:g}")
        if self.duration_seconds is not None and not 0 < self.duration_seconds < math.inf:
            raise DURATION.refused(f"{self.duration_seconds:g}")
        if self.recording is not None:
            named = f"INPUT (--input) is {self.recording}"
            if self.recording.is_dir():
                raise RunSettingsError(f"{named}: expected a CSV file, and this is a directory")
            if not self.recording.exists():
                raise RunSettingsError(f"{named}: there is no such file")
            if not self.recording.is_file():
                raise RunSettingsError(f"{named}: expected a file that can be read twice")
            if self.devices is not None:
                raise RunSettingsError(
                    f"DEVICES (--devices) is {self.devices} and {named}: the recording names its "
                    "devices itself, so leave one of the two out"
                )
        elif self.device_column or self.time_column:
            raise RunSettingsError(
                "--device-column and --time-column are for a recording (INPUT, --input)"
            )

    @property
    def sensor_count(self) -> int:
        """How many sensors are simulated where there is no recording."""
        return DEFAULT_DEVICES if self.devices is None else self.devices
