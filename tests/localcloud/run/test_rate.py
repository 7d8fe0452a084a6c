import pytest

from localcloud.run.rate import Rate


def test_a_steady_counter_has_its_rate_however_it_is_looked_at() -> None:
    rate = Rate()
    seen = [rate.per_second(float(at), at * 100) for at in (0, 1, 1, 1, 2, 4, 4, 7, 20)]
    assert seen[1:] == [pytest.approx(100)] * 8


def test_what_is_long_ago_no_longer_counts() -> None:
    rate = Rate()
    for second in range(10):
        rate.per_second(float(second), 1000)
    assert rate.per_second(10.0, 1100) == pytest.approx(20)


def test_one_look_tells_no_rate() -> None:
    assert Rate().per_second(3.0, 500) == 0
