import pytest

from localcloud.run.latency import Latencies


def test_percentiles_are_right_to_two_percent() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(float(milliseconds))
    assert latencies.percentile(50) == pytest.approx(500, rel=0.02)
    assert latencies.percentile(99) == pytest.approx(990, rel=0.02)
    assert latencies.percentile(100) == pytest.approx(1000, rel=0.02)


def test_one_slow_message_in_a_hundred_is_not_the_99th_percentile() -> None:
    latencies = Latencies()
    for milliseconds in [5.0] * 99 + [5000.0]:
        latencies.add(milliseconds)
    assert latencies.percentile(99) == pytest.approx(5, rel=0.02)


def test_without_messages_there_is_none() -> None:
    assert Latencies().percentile(50) is None


def test_a_clock_that_steps_back_counts_as_no_time() -> None:
    latencies = Latencies()
    latencies.add(-3.0)
    assert latencies.percentile(50) == 0.01
