"""Simulated sensors: seeded, with a daily rhythm, drift, noise, gaps and the odd fault.

What a sensor says is a pure function of its seed, its number, the time and the message's
number: two runs with one seed that ask at the same times hear the same. Gaps and long faults
last for whole minutes and are drawn for each minute of each sensor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from random import Random

from localcloud.devices.reading import Reading, encode

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400
SILENT_SHARE = 0.03
STUCK_SHARE = 0.01
OUT_OF_RANGE_SHARE = 0.01
MALFORMED_SHARE = 1 / 200
# Drift is counted from here, and starts anew every 30 days: someone recalibrates.
RECALIBRATION_SECONDS = 30 * DAY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """How one quantity behaves; values in the unit that its name ends in.

    `swing` is half the distance between the day's lowest and highest, reached at `peak_hour`
    UTC; `spread` how far apart the sensors' own means lie; `broken` what a broken sensor says.
    """

    name: str
    mean: float
    swing: float
    peak_hour: float
    noise: float
    drift_per_day: float
    spread: float
    lowest: float
    highest: float
    broken: float

    def at(self, seconds: float, *, offset: float, noise: float) -> float:
        """Return the value at a time in seconds since the epoch.

        `offset` (-1 to 1) is the sensor's own, `noise` one draw of a standard normal.
        """
        hours = seconds % DAY_SECONDS / 3600
        rhythm = math.cos((hours - self.peak_hour) * math.tau / 24)
        days = seconds % RECALIBRATION_SECONDS / DAY_SECONDS
        value = (
            self.mean
            + self.spread * offset
            + self.swing * rhythm
            + self.drift_per_day * offset * days
            + self.noise * noise
        )
        return round(min(max(value, self.lowest), self.highest), 3)


def _quantity(name: str, mean: float, swing: float, peak_hour: float, **more: float) -> Quantity:
    return Quantity(
        name=name,
        mean=mean,
        swing=swing,
        peak_hour=peak_hour,
        noise=more["noise"],
        drift_per_day=more["drift"],
        spread=more["spread"],
        lowest=more["lowest"],
        highest=more["highest"],
        broken=more["broken"],
    )


# -127 is what a DS18B20 whose wire broke says, 65,535 a register full of ones.
_TEMPERATURE = _quantity(
    "temperature_c", 18, 6, 14, noise=0.1, drift=0.02, spread=3, lowest=-40, highest=85, broken=-127
)
_HUMIDITY = _quantity(
    "humidity_percent", 55, 15, 4, noise=0.5, drift=0.1, spread=8, lowest=0, highest=100, broken=255
)
_PRESSURE = _quantity(
    "pressure_hpa", 1013, 1.5, 10, noise=0.1, drift=0.01, spread=4, lowest=870, highest=1085,
    broken=0,
)  # fmt: skip
_CO2 = _quantity(
    "co2_ppm", 650, 220, 13, noise=8, drift=1, spread=90, lowest=380, highest=5000, broken=65_535
)
_DUST = _quantity(
    "pm25_ug_m3", 12, 6, 19, noise=0.8, drift=0.05, spread=4, lowest=0, highest=999, broken=65_535
)
_POWER = _quantity(
    "power_w", 900, 600, 19, noise=25, drift=0, spread=300, lowest=0, highest=11_000, broken=-1
)
_VOLTAGE = _quantity(
    "voltage_v", 230, 2, 3, noise=0.4, drift=0, spread=2, lowest=207, highest=253, broken=0
)
_MOISTURE = _quantity(
    "soil_moisture_percent", 32, 3, 6, noise=0.2, drift=-0.3, spread=6, lowest=0, highest=100,
    broken=-1,
)  # fmt: skip
_BATTERY = _quantity(
    "battery_v", 3.6, 0.02, 14, noise=0.005, drift=-0.004, spread=0.1, lowest=2.5, highest=4.2,
    broken=0,
)  # fmt: skip

KINDS: Mapping[str, tuple[Quantity, ...]] = {
    "climate": (_TEMPERATURE, _HUMIDITY, _PRESSURE),
    "air": (_CO2, _DUST, _TEMPERATURE),
    "meter": (_POWER, _VOLTAGE),
    "soil": (_MOISTURE, _TEMPERATURE, _BATTERY),
}


class Condition(Enum):
    """How a sensor is in one minute."""

    WELL = "well"
    SILENT = "silent"
    STUCK = "stuck"
    OUT_OF_RANGE = "out of range"


@lru_cache(maxsize=16_384)
def condition(seed: int, number: int, minute: int) -> Condition:
    """Return how sensor `number` is in a minute, counted from the epoch."""
    draw = Random(f"{seed}/{number}/{minute}").random()  # noqa: S311 - a simulation
    for share, what in (
        (SILENT_SHARE, Condition.SILENT),
        (STUCK_SHARE, Condition.STUCK),
        (OUT_OF_RANGE_SHARE, Condition.OUT_OF_RANGE),
    ):
        if draw < share:
            return what
        draw -= share
    return Condition.WELL


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One simulated sensor; `number` counts from 1."""

    seed: int
    number: int

    @property
    def device_id(self) -> str:
        """Its kind and number, as in `climate-0001`."""
        return f"{self.kind}-{self.number:04d}"

    @property
    def kind(self) -> str:
        """What it measures: a key of KINDS."""
        return tuple(KINDS)[(self.number - 1) % len(KINDS)]

    def reading(self, time: datetime, sequence: int) -> Reading | None:
        """Return what it says at a time as its message number `sequence`; None in a gap."""
        seconds = time.timestamp()
        now = condition(self.seed, self.number, int(seconds // MINUTE_SECONDS))
        if now is Condition.SILENT:
            return None
        # One integer mixes all three: seeding by a string costs a hash of it for each message.
        draws = Random((self.seed * 1_000_003 + self.number) << 64 | sequence)  # noqa: S311 - a simulation
        malformed = draws.random() < MALFORMED_SHARE
        payload = encode(time, self._values(seconds, now, draws))
        reading = Reading(device_id=self.device_id, time=time, payload=payload)
        return _spoiled(reading, draws) if malformed else reading

    def _values(self, seconds: float, now: Condition, draws: Random) -> dict[str, float]:
        quantities = KINDS[self.kind]
        first = quantities[0]
        values = {
            quantity.name: quantity.at(
                seconds, offset=_offset(self.seed, self.number, place), noise=draws.gauss(0, 1)
            )
            for place, quantity in enumerate(quantities)
        }
        if now is Condition.STUCK:
            since = seconds - seconds % MINUTE_SECONDS
            offset = _offset(self.seed, self.number, 0)
            values[first.name] = first.at(since, offset=offset, noise=0)
        elif now is Condition.OUT_OF_RANGE:
            values[first.name] = first.broken
        return values


@lru_cache(maxsize=16_384)
def _offset(seed: int, number: int, place: int) -> float:
    """Return how this sensor differs from its kind, -1 to 1."""
    return Random(f"{seed}/{number}/offset/{place}").uniform(-1, 1)  # noqa: S311 - a simulation


def _spoiled(reading: Reading, draws: Random) -> Reading:
    """Break a reading as real firmware does."""
    payload = reading.payload
    match draws.randrange(6):
        case 0:  # the buffer was too small
            return replace(reading, payload=payload[: len(payload) // 2], malformed=True)
        case 1:  # memory that was never written
            return replace(reading, payload=b"\xff\xfe" + payload[2:], malformed=True)
        case 2:  # an error message where the readings should be
            return replace(reading, payload=b'{"error":"sensor bus timeout"}', malformed=True)
        case _:  # a clock that was never set, printed without its zone
            return replace(reading, claimed_time="1970-01-01 00:00:07", malformed=True)


def fleet(*, seed: int, count: int) -> tuple[Sensor, ...]:
    """Return `count` sensors of all kinds in turn."""
    return tuple(Sensor(seed=seed, number=number) for number in range(1, count + 1))


def utc(seconds: float) -> datetime:
    """Return seconds since the epoch as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)
