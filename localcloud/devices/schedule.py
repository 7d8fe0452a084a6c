"""Which device says what, and when: a rate in, readings out. No clock and no network here."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from localcloud.devices.host import HostReadings
from localcloud.devices.reading import Reading, encode
from localcloud.devices.sensor import Sensor

HOST_RATE_PER_SECOND = 1.0
# What is missed beyond this (the machine slept) is not made up for in one burst.
FORGIVEN_AFTER_SECONDS = 1.0


class Pace:
    """How many messages are due at a rate a second; the average holds, stalls are made up for."""

    def __init__(self, *, rate_per_second: float) -> None:
        if not rate_per_second > 0:
            raise ValueError(f"a rate must be more than 0 a second, not {rate_per_second}")
        self._rate = rate_per_second
        self._last: float | None = None
        self._owed = 0.0

    def due(self, now_seconds: float) -> int:
        """Return how many are due at a time of a steady clock; the first call starts it."""
        if self._last is None:
            self._last = now_seconds
            return 0
        self._owed += (now_seconds - self._last) * self._rate
        self._owed = min(self._owed, max(self._rate * FORGIVEN_AFTER_SECONDS, 1.0))
        self._last = now_seconds
        whole = int(self._owed)
        self._owed -= whole
        return whole


class SensorReadings:
    """Sensors in turn; the turn of a silent one goes to the next, so that the rate holds."""

    ended = False

    def __init__(self, sensors: Sequence[Sensor]) -> None:
        self._sensors = sensors
        self._turn = 0
        self._sequences = [0] * len(sensors)

    def next(self, time: datetime) -> Reading | None:
        """Return the next sensor's reading; None while all of them are silent."""
        for _ in self._sensors:
            place = self._turn
            self._turn = (place + 1) % len(self._sensors)
            self._sequences[place] += 1
            if reading := self._sensors[place].reading(time, self._sequences[place]):
                return reading
        return None


class RecordedReadings:
    """A recording's rows one after the other; `ended` once there are no more."""

    def __init__(self, rows: Iterator[Reading]) -> None:
        self._rows = rows
        self.ended = False

    def next(self, time: datetime) -> Reading | None:
        """Return the next row, whatever the time; None at the end."""
        reading = next(self._rows, None)
        self.ended = reading is None
        return reading


class Schedule:
    """This machine once a second, the sensors or the recording at what is left of the rate.

    Where the rate leaves each device less than one message a second, this machine takes its
    equal share. With `other_count` 0 it is alone, and says no more for that.
    """

    def __init__(
        self,
        *,
        rate_per_second: float,
        others: SensorReadings | RecordedReadings,
        other_count: int,
        host_id: str,
        read_host: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        host_rate = min(HOST_RATE_PER_SECOND, rate_per_second / (other_count + 1))
        self._host_pace = Pace(rate_per_second=host_rate)
        self._other_pace = (
            Pace(rate_per_second=rate_per_second - host_rate) if other_count else None
        )
        self._others = others
        self._host_id = host_id
        self._read_host = read_host if read_host is not None else HostReadings().read

    @property
    def ended(self) -> bool:
        """Whether the recording is at its end, so that only this machine still speaks."""
        return self._others.ended

    def due(self, now_seconds: float, time: datetime) -> list[Reading]:
        """Return what is to be said now; `now_seconds` is of a steady clock."""
        readings = []
        if self._host_pace.due(now_seconds):
            readings.append(self.host_reading(time))
        if self._other_pace is None:
            return readings
        for _ in range(self._other_pace.due(now_seconds)):
            reading = self._others.next(time)
            if reading is None:
                break
            readings.append(reading)
        return readings

    def host_reading(self, time: datetime) -> Reading:
        """Return what this machine says now."""
        payload = encode(time, self._read_host())
        return Reading(device_id=self._host_id, time=time, payload=payload)
