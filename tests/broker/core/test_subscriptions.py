"""The trie finds what TopicFilter.matches finds, whatever was remembered before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core.budget import Budget
from broker.core.limits import Limits, QueueLimits
from broker.core.session import Session
from broker.core.subscriptions import Subscription, Subscriptions
from mqtt.topics import TopicFilter
from tests.broker.core.harness import House

LEVEL = st.sampled_from(["", "a", "b", "$x"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.sampled_from(["", "a", "b", "$x", "+"]), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
).filter(bool)
STEP = st.tuples(st.booleans(), FILTER, st.sampled_from([None, "g", "h"]))


@given(st.lists(STEP, max_size=12), st.lists(TOPIC, min_size=1, max_size=6))
def test_lookup_equals_matching_one_by_one(
    steps: list[tuple[bool, str, str | None]], topics: list[str]
) -> None:
    subscriptions = Subscriptions()
    session = Session(
        "c", "owner", QueueLimits(messages=1, bytes=1), Budget(Limits()), device=False
    )
    present: dict[TopicFilter, Subscription] = {}
    for adding, pattern, share in steps:
        topic_filter = TopicFilter(pattern, share=share)
        if adding:
            subscription = Subscription(
                session=session,
                topic_filter=topic_filter,
                qos=0,
                no_local=False,
                retain_as_published=False,
                identifier=None,
            )
            present[topic_filter] = subscription
            subscriptions.add(subscription)
        elif topic_filter in present:
            subscriptions.remove(present.pop(topic_filter))
        for topic in topics:
            routes = subscriptions.lookup(topic)
            plain = any(f.share is None and f.matches(topic) for f in present)
            shared = {(f.share, f.pattern) for f in present if f.share and f.matches(topic)}
            assert [route.session for route in routes.sessions] == [session] * plain
            assert {(group.name, group.pattern) for group in routes.groups} == shared


def test_rights_are_asked_for_each_filter_by_containment() -> None:
    house = House()
    client = house.connect("c1")
    assert client.subscribe("a", "$SYS/#", "b/#") == [1, 0x87, 1]
    assert "'$SYS/#' refused" in house.notices[-1]


def test_a_session_has_no_more_than_its_number_of_subscriptions() -> None:
    client = House(subscriptions_per_session=2).connect("c1")
    assert client.subscribe("a", "b", "c", "a") == [1, 1, 0x97, 1]


def test_answers_are_remembered_until_so_many_subscribers_are_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.core.subscriptions.CACHED_ROUTES", 10)
    house = House()
    clients = [house.connect(f"c{number}") for number in range(4)]
    for client in clients:
        client.subscribe("a/#", qos=0)
    lookup = house.core._delivery._subscriptions.lookup
    first, second = lookup("a/1"), lookup("a/2")
    assert lookup("a/1") is first
    assert lookup("a/2") is second
    third = lookup("a/3")
    assert lookup("a/3") is third
    assert lookup("a/1") is not first
    for client in clients[1:]:
        client.subscribe("a/3", qos=0)
    assert lookup("a/3") is not third
    assert len(lookup("a/3").sessions) == 4
