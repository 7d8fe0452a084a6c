import json
from datetime import UTC, datetime, timedelta

import pytest

from localcloud.devices.reading import CONTENT_TYPE, SCHEMA_ID, Reading
from localcloud.devices.sensor import (
    KINDS,
    Condition,
    Quantity,
    Sensor,
    condition,
    fleet,
)
from schemas.codec import Codec
from schemas.errors import InvalidPayload
from schemas.times import parse_time

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def _quantity(**changes: float) -> Quantity:
    values = {
        "mean": 20.0, "swing": 0.0, "peak_hour": 14.0, "noise": 0.0, "drift_per_day": 0.0,
        "spread": 0.0, "lowest": -40.0, "highest": 85.0, "broken": -127.0,
    } | changes  # fmt: skip
    return Quantity(name="temperature_c", **values)


def _minute_of(wanted: Condition, sensor: Sensor) -> datetime:
    minute = int(NOON.timestamp()) // 60
    while condition(sensor.seed, sensor.number, minute) is not wanted:
        minute += 1
    return datetime.fromtimestamp(minute * 60, UTC)


def test_the_same_seed_time_and_number_give_the_same_reading() -> None:
    sensor = Sensor(seed=7, number=3)
    assert sensor.reading(NOON, 5) == Sensor(seed=7, number=3).reading(NOON, 5)
    assert sensor.reading(NOON, 5) != Sensor(seed=8, number=3).reading(NOON, 5)


def test_a_fleet_has_every_kind_and_distinct_ids() -> None:
    sensors = fleet(seed=1, count=10)
    assert {sensor.kind for sensor in sensors} == set(KINDS)
    assert len({sensor.device_id for sensor in sensors}) == 10


def test_the_day_has_its_highest_at_the_peak_hour() -> None:
    quantity = _quantity(swing=5.0)
    hours = [quantity.at(hour * 3600, offset=0, noise=0) for hour in range(24)]
    assert hours[14] == max(hours) == 25.0
    assert hours[2] == min(hours) == 15.0


def test_drift_grows_with_the_days_and_differs_by_sensor() -> None:
    quantity = _quantity(drift_per_day=0.5)
    assert quantity.at(10 * 86_400, offset=1, noise=0) == 25.0
    assert quantity.at(10 * 86_400, offset=-1, noise=0) == 15.0


def test_values_stay_within_what_the_sensor_can_measure() -> None:
    assert _quantity(noise=1000.0).at(0, offset=0, noise=1) == 85.0
    assert _quantity(noise=1000.0).at(0, offset=0, noise=-1) == -40.0


def test_a_silent_minute_has_no_reading() -> None:
    sensor = Sensor(seed=1, number=1)
    silent = _minute_of(Condition.SILENT, sensor)
    assert sensor.reading(silent, 1) is None
    assert sensor.reading(silent + timedelta(seconds=59), 2) is None


def test_a_stuck_sensor_repeats_its_first_quantity() -> None:
    sensor = Sensor(seed=1, number=1)
    stuck = _minute_of(Condition.STUCK, sensor)
    first = KINDS[sensor.kind][0].name
    said = set()
    for second in range(0, 60, 7):
        reading = sensor.reading(stuck + timedelta(seconds=second), second)
        assert reading is not None
        if not reading.malformed:
            said.add(json.loads(reading.payload)["readings"][first])
    assert len(said) == 1


def test_a_broken_sensor_says_what_broken_ones_say() -> None:
    sensor = Sensor(seed=1, number=1)
    broken = _minute_of(Condition.OUT_OF_RANGE, sensor)
    reading = sensor.reading(broken, 1)
    assert reading is not None
    assert json.loads(reading.payload)["readings"]["temperature_c"] == -127


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_now_and_then_a_payload_is_malformed_and_says_so(number: int) -> None:
    sensor = Sensor(seed=1, number=number)
    well = _minute_of(Condition.WELL, sensor)
    readings = [sensor.reading(well, sequence) for sequence in range(2000)]
    malformed = [reading for reading in readings if reading is not None and reading.malformed]
    assert 1 <= len(malformed) <= 40
    assert not any(_is_whole(reading) for reading in malformed)
    assert all(_is_whole(r) for r in readings if r is not None and not r.malformed)


CODEC = Codec.packaged()


def _is_whole(reading: Reading) -> bool:
    try:
        CODEC.decode(reading.payload, schema_id=SCHEMA_ID, content_type=CONTENT_TYPE)
        parse_time(reading.event_time)
    except (InvalidPayload, ValueError):
        return False
    return True
