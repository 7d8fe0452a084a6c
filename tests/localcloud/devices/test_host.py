import pytest

from localcloud.devices.host import HostReadings, device_id, rates
from schemas.layout import check_device_id


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("build-7.example", "host-build-7.example"),
        ("Anna's laptop/+#", "host-Anna-s-laptop"),
        ("", "host-unnamed"),
        ("ein-Rechner-ü", "host-ein-Rechner"),
    ],
)
def test_the_device_id_is_one_that_topics_can_hold(hostname: str, expected: str) -> None:
    assert check_device_id(device_id(hostname)) == expected


def test_this_machine_reads_itself() -> None:
    values = HostReadings().read()
    assert 0 <= values["cpu_percent"] <= 100
    assert 0 < values["memory_percent"] <= 100
    assert values["disk_free_bytes"] > 0
    assert "cpu_0_percent" in values


def test_rates_are_the_growth_a_second() -> None:
    before = {"disk": {"read_bytes": 1000, "write_bytes": 0}}
    now = {"disk": {"read_bytes": 3000, "write_bytes": 50}}
    assert rates(before, now, 2.0) == {
        "disk_read_bytes_per_second": 1000.0,
        "disk_written_bytes_per_second": 25.0,
    }


def test_a_counter_that_fell_gives_no_rate() -> None:
    before, now = {"network": {"bytes_recv": 10}}, {"network": {"bytes_recv": 5}}
    assert rates(before, now, 1.0) == {}
