"""Deadlines run in their order and once; those that are cancelled cost next to nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.core.timers import Timer, Timers
from tests.broker.core.harness import House

WEEK = 604_800.0


def test_cancelled_deadlines_do_not_pile_up() -> None:
    timers = Timers()
    ran: list[float] = []
    timers.at(1.0, ran.append)
    for number in range(10_000):
        timers.at(WEEK + number, ran.append).cancel()
        assert len(timers) < 200
    timers.at(2.0, ran.append)
    timers.run_due(2 * WEEK)
    assert ran == [2 * WEEK, 2 * WEEK]
    assert len(timers) == 0


def test_a_client_that_comes_and_goes_leaves_nothing_behind() -> None:
    house = House()
    for _ in range(500):
        house.resume("c", session_expiry_interval=500_000, keep_alive=60_000).drop()
    assert len(house.core._timers) < 200


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["add", "cancel", "run"]))))
def test_what_is_not_cancelled_runs_once_and_in_its_order(
    steps: list[tuple[int, str]],
) -> None:
    timers, now = Timers(), 0
    waiting: dict[int, tuple[int, Timer]] = {}
    ran: list[int] = []

    def add(number: int, when: int) -> None:
        waiting[number] = (when, timers.at(when, lambda then: ran.append(number)))

    for number in range(100):
        add(-number, 1_000)
    for number, (value, step) in enumerate(steps, 1):
        if step == "add":
            add(number, now + value)
        elif step == "cancel":
            for each in sorted(waiting)[: value // 4]:
                timer = waiting.pop(each)[1]
                timer.cancel()
                timer.cancel()
        else:
            now += value
            ran.clear()
            due = sorted((when, each) for each, (when, _) in waiting.items() if when <= now)
            timers.run_due(now)
            assert sorted(ran) == sorted(each for _, each in due)
            assert [waiting[each][0] for each in ran] == [when for when, _ in due]
            for each in ran:
                waiting.pop(each)[1].cancel()
        expected = min((when for when, _ in waiting.values()), default=None)
        assert timers.next_deadline() == expected
        assert len(timers) <= 2 * len(waiting) + 65


def test_a_deadline_that_cancels_others_as_it_runs() -> None:
    timers = Timers()
    ran: list[str] = []
    others = [timers.at(3.0, lambda now: ran.append("cancelled")) for _ in range(200)]

    def cancel(now: float) -> None:
        for each in others:
            each.cancel()

    timers.at(1.0, cancel)
    timers.at(4.0, lambda now: ran.append("last"))
    timers.run_due(5.0)
    assert ran == ["last"]
