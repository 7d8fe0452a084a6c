"""The queue of logins is bounded, and nobody's many logins keep another's one waiting."""

from __future__ import annotations

from broker.server.fair_queue import FairQueue


def taken(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.take()) is not None:
        found.append(item)
    return found


def test_senders_take_turns() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for number in range(3):
        assert queue.put("a", str(number), f"a{number}") is None
    queue.put("b", "x", "b0")
    queue.put("c", "x", "c0")
    queue.put("b", "y", "b1")
    assert len(queue) == 6
    assert taken(queue) == ["a0", "b0", "c0", "a1", "b1", "a2"]
    assert len(queue) == 0


def test_a_full_queue_makes_room_where_most_is_waiting() -> None:
    queue: FairQueue[str] = FairQueue(4)
    for number in range(4):
        assert queue.put("flood", str(number), f"f{number}") is None
    assert queue.put("flood", "4", "f4") == "f4"
    assert queue.put("device", "d", "d0") == "f3"
    assert queue.put("other", "o", "o0") == "f2"
    # Nobody has two more than another: the newcomer is the one who must wait.
    assert queue.put("device", "e", "d1") == "d1"
    assert taken(queue) == ["f0", "d0", "o0", "f1"]


def test_of_one_device_two_logins_wait() -> None:
    queue: FairQueue[str] = FairQueue(100)
    assert queue.put("a", "d", "1") is None
    assert queue.put("a", "d", "2") is None
    assert queue.put("a", "d", "3") == "3"
    assert queue.put("b", "d", "4") is None
    assert taken(queue) == ["1", "4", "2"]
