from pathlib import Path
from typing import Any

import pytest

from localcloud.run.settings import RunSettings, RunSettingsError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"devices": -1}, r"DEVICES \(--devices\) is -1: expected a whole number"),
        ({"devices": 1_000_000}, r"\(--devices\) is 1000000: expected"),
        ({"rate_per_second": -1}, r"RATE \(--rate\) is -1: expected messages a second"),
        ({"rate_per_second": float("nan")}, "is nan"),
        ({"duration_seconds": 0}, r"DURATION \(--duration\) is 0: expected seconds"),
        ({"recording": Path("none.csv")}, r"INPUT \(--input\) is none.csv: there is no such file"),
        ({"recording": Path()}, "this is a directory"),
        ({"time_column": "when"}, "are for a recording"),
    ],
)
def test_what_can_t_be_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RunSettingsError, match=message) as told:
        RunSettings(**values)
    assert "\n" not in str(told.value)


def test_a_recording_and_a_number_of_devices_contradict_each_other(tmp_path: Path) -> None:
    recording = tmp_path / "r.csv"
    recording.touch()
    with pytest.raises(RunSettingsError, match="leave one of the two out"):
        RunSettings(recording=recording, devices=3)


def test_no_sensor_at_all_is_a_number_of_them() -> None:
    assert RunSettings(devices=0).sensor_count == 0


def test_the_defaults_are_good() -> None:
    assert RunSettings().sensor_count == 25
