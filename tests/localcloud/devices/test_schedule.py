from datetime import UTC, datetime

import pytest

from localcloud.devices.reading import Reading
from localcloud.devices.schedule import Pace, RecordedReadings, Schedule, SensorReadings
from localcloud.devices.sensor import Condition, Sensor, condition, fleet

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def test_the_rate_holds_over_uneven_ticks() -> None:
    pace = Pace(rate_per_second=100)
    ticks = [0.0, 0.003, 0.1, 0.11, 0.5, 0.77, 1.0]
    assert sum(pace.due(tick) for tick in ticks) == 100


def test_a_slow_rate_is_due_once_its_time_has_come() -> None:
    pace = Pace(rate_per_second=0.5)
    assert [pace.due(second) for second in (0.0, 1.0, 2.0, 3.0, 4.0)] == [0, 0, 1, 0, 1]


def test_a_long_stall_is_not_made_up_for_in_one_burst() -> None:
    pace = Pace(rate_per_second=100)
    pace.due(0.0)
    assert pace.due(3600.0) == 100


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Pace(rate_per_second=0)


def test_a_silent_sensor_s_turn_goes_to_the_next() -> None:
    minute = int(NOON.timestamp()) // 60
    number = next(n for n in range(1, 10_000) if condition(1, n, minute) is Condition.SILENT)
    silent, other = Sensor(seed=1, number=number), Sensor(seed=1, number=number + 1)
    readings = SensorReadings([silent, other])
    said = [readings.next(NOON) for _ in range(4)]
    assert {reading.device_id for reading in said if reading} == {other.device_id}
    assert all(said)


def test_this_machine_speaks_once_a_second_and_the_sensors_fill_the_rate() -> None:
    schedule = Schedule(
        rate_per_second=50,
        others=SensorReadings(fleet(seed=1, count=10)),
        other_count=10,
        host_id="host-here",
        read_host=lambda: {"cpu_percent": 1.0},
    )
    said: list[Reading] = []
    for tick in range(1001):
        said += schedule.due(tick / 100, NOON)
    assert len(said) == pytest.approx(500, abs=2)
    assert sum(reading.device_id == "host-here" for reading in said) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("rate", "expected"), [(50, 10), (0.5, 5)])
def test_alone_this_machine_says_one_message_a_second_or_what_the_rate_leaves(
    rate: float, expected: int
) -> None:
    schedule = Schedule(
        rate_per_second=rate,
        others=SensorReadings(()),
        other_count=0,
        host_id="host-here",
        read_host=lambda: {"cpu_percent": 1.0},
    )
    said = [reading for tick in range(1001) for reading in schedule.due(tick / 100, NOON)]
    assert len(said) == pytest.approx(expected, abs=1)


def test_a_recording_ends() -> None:
    row = Reading(device_id="a", time=NOON, payload=b"{}")
    rows = RecordedReadings(iter([row]))
    assert rows.next(NOON) is row
    assert not rows.ended
    assert rows.next(NOON) is None
    assert rows.ended
