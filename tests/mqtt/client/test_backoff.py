from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mqtt.client.backoff import Backoff


def backoff(seed: int = 1) -> Backoff:
    return Backoff(initial_seconds=0.1, maximum_seconds=30, rng=random.Random(seed))


@given(st.integers())
def test_pauses_grow_to_the_maximum_and_keep_half_their_length(seed: int) -> None:
    pauses = [backoff.next_pause_seconds() for backoff in [backoff(seed)] for _ in range(30)]
    step = 0.1
    for pause in pauses:
        assert step / 2 <= pause <= step
        step = min(30, step * 1.4)
    assert step == 30


def test_a_reset_begins_again() -> None:
    pauses = backoff()
    for _ in range(10):
        pauses.next_pause_seconds()
    pauses.reset()
    assert pauses.next_pause_seconds() <= 0.1


def test_an_error_may_ask_for_a_longer_pause_within_the_maximum() -> None:
    pauses = backoff()
    pauses.at_least(5)
    assert 2.5 <= pauses.next_pause_seconds() <= 5
    pauses.at_least(1)
    assert pauses.next_pause_seconds() > 4
    pauses.at_least(1_000)
    assert pauses.next_pause_seconds() <= 30


def test_clients_that_fail_together_do_not_come_back_together() -> None:
    assert len({backoff(seed).next_pause_seconds() for seed in range(20)}) == 20
