"""Only a message that ends connections, alone and at once, is taken to be guilty."""

from __future__ import annotations

from mqtt.client.caution import Caution


def careful(caution: Caution) -> None:
    """Two connections without an answer, then one to be careful with."""
    for _ in range(2):
        assert not caution.connected(0.0, unanswered=True)
        assert caution.lost(0.0, unanswered=True) is None
    assert caution.connected(0.0, unanswered=True)


def ends_over(caution: Caution, packet_id: int) -> None:
    """A connection to be careful with ends over a message alone, and the next one stands."""
    caution.sent([packet_id], 2.0)
    assert caution.lost(2.1, unanswered=True) is None
    assert caution.connected(3.0, unanswered=True)


def test_it_waits_before_it_sends_one_alone() -> None:
    caution = Caution()
    careful(caution)
    assert caution.allowance(0.5) == 0
    assert caution.allowance(1.1) == 1


def test_a_message_that_ends_two_connections_alone_is_given_up() -> None:
    caution = Caution()
    careful(caution)
    ends_over(caution, 7)
    caution.sent([7], 4.0)
    assert caution.lost(4.1, unanswered=True) == 7
    assert not caution.connected(5.0, unanswered=True)


def test_another_message_is_not_given_up_for_the_first_ones_end() -> None:
    caution = Caution()
    careful(caution)
    ends_over(caution, 7)
    caution.sent([8], 4.0)
    assert caution.lost(4.1, unanswered=True) is None


def test_a_connection_that_ends_late_or_by_itself_convicts_nobody() -> None:
    caution = Caution()
    careful(caution)
    for _ in range(3):
        caution.sent([7], 2.0)
        assert caution.lost(32.0, unanswered=True) is None
        assert caution.connected(33.0, unanswered=True)
        assert caution.lost(33.1, unanswered=True) is None
        assert caution.connected(34.0, unanswered=True)


def test_answers_let_more_and_more_pass() -> None:
    caution = Caution()
    careful(caution)
    caution.sent([1], 2.0)
    assert caution.allowance(2.0) == 0
    caution.answered(1)
    assert caution.allowance(2.0) == 2
    caution.sent([2, 3], 2.0)
    caution.answered(1)
    assert caution.allowance(2.0) == 0
    caution.answered(1)
    assert caution.allowance(2.0) == 4
    caution.sent([4, 5, 6, 7], 2.0)
    assert caution.lost(2.1, unanswered=True) is None
    assert not caution.connected(3.0, unanswered=True)


def test_connections_that_bring_answers_raise_no_suspicion() -> None:
    caution = Caution()
    for _ in range(5):
        assert not caution.connected(0.0, unanswered=True)
        caution.answered(1)
        assert caution.lost(0.0, unanswered=True) is None
