import pytest

from bench.arrivals import Arrivals
from bench.processes import BenchError


def test_a_repeat_is_a_duplicate_and_keeps_the_first_time() -> None:
    arrivals = Arrivals(range(10, 12))
    assert arrivals.note(10, 5.0)
    assert not arrivals.note(10, 9.0)
    assert (arrivals.duplicates, arrivals.lost, arrivals.span()) == (1, 1, (5.0, 5.0))


def test_numbers_of_a_warm_up_are_nobodys() -> None:
    arrivals = Arrivals(range(10, 12))
    assert not arrivals.note(9, 5.0)
    assert not arrivals.note(12, 5.0)
    assert arrivals.lost == 2


def test_the_rate_leaves_out_what_came_with_the_first() -> None:
    arrivals = Arrivals(range(6))
    for number, moment in enumerate([1.0, 1.0, 1.0, 2.0, 2.0, 3.0]):
        arrivals.note(number, moment)
    assert arrivals.rate() == pytest.approx(1.5)
    assert arrivals.longest_pause() == pytest.approx(1.0)


def test_nothing_arrived_is_an_error_and_not_a_rate() -> None:
    with pytest.raises(BenchError, match="nothing arrived"):
        Arrivals(range(3)).span()
