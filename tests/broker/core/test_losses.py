"""Losses are logged: the first at once, a flood of them by its size."""

from __future__ import annotations

from broker.auth.principal import Rights
from tests.broker.core.harness import House, device


def test_a_flood_of_refused_publishes_is_two_lines() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", username="d1")
    house.notices.clear()
    for _ in range(1_000):
        client.publish("a", qos=0)
    house.wait(10)
    assert house.notices == [
        "d1: PUBLISH to 'a' refused, not allowed: 1 message",
        "d1: PUBLISH to 'a' refused, not allowed: 999 messages",
    ]
    house.wait(10)
    assert len(house.notices) == 2
    client.publish("a", qos=0)
    assert len(house.notices) == 3


def test_a_flood_of_refused_topics_is_a_dozen_lines() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", username="d1")
    house.notices.clear()
    for number in range(1_000):
        client.publish(f"a/{number}", qos=0)
    house.wait(10)
    assert len(house.notices) == 12
    assert house.notices[-1] == "d1: PUBLISH refused, not allowed: 989 messages"


def test_the_end_of_a_session_leaves_nothing_unsaid() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", username="d1")
    client.publish("a")
    client.publish("a")
    house.notices.clear()
    client.drop()
    assert "d1: PUBLISH to 'a' refused, not allowed: 1 message" in house.notices
    house.notices.clear()
    house.wait(100)
    assert house.notices == []
