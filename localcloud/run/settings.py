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
            raise RunSettingsError(
                f"DEVICES (--devices) is {self.devices}: expected a number from 0 to "
                f"{MAXIMUM_DEVICES}"
            )
        if not 0 < self.rate_per_second <= MAXIMUM_RATE_PER_SECOND:
            raise RunSettingsError(
                f"RATE (--rate) is {self.rate_per_second:g}: expected messages a second, "
                f"more than 0 and at most {MAXIMUM_RATE_PER_SECOND}"
            )
        if self.duration_seconds is not None and not 0 < self.duration_seconds < math.inf:
            raise RunSettingsError(
                f"DURATION (--duration) is {self.duration_seconds:g}: expected seconds, more than 0"
            )
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
