"""Retained messages for who subscribes come in slices, between which others are served."""

from __future__ import annotations

import pytest
from mqtt5 import (
    PingReqPacket,
    PingRespPacket,
    PublishPacket,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
)

from broker.auth.principal import Rights
from broker.core.catching_up import PAUSE_SECONDS, SLICE_MESSAGES
from tests.broker.core.harness import Client, House, device

MANY = 3 * SLICE_MESSAGES


@pytest.fixture
def house() -> House:
    """With more retained messages than are sent in a slice."""
    house = House()
    publisher = house.connect("c-publisher")
    for number in range(MANY):
        publisher.publish(f"a/{number}", b"old", retain=True)
    publisher.drop()
    return house


def begin(client: Client, *patterns: str) -> None:
    filters = [TopicFilter(each, max_qos=QoS.AT_LEAST_ONCE) for each in patterns]
    client.send(SubscribePacket(1, filters))


def topics(client: Client) -> list[str]:
    return [packet.topic for packet in client.take(PublishPacket)]


def all_topics() -> set[str]:
    return {f"a/{number}" for number in range(MANY)}


def test_all_come_and_others_are_served_before(house: House) -> None:
    client, other = house.connect("c1"), house.connect("c2")
    begin(client, "a/#")
    assert isinstance(client.inbox[1], SubAckPacket)
    first = topics(client)
    assert 0 < len(first) <= SLICE_MESSAGES
    other.send(PingReqPacket())
    other.one(PingRespPacket)
    assert topics(client) == []
    house.wait(PAUSE_SECONDS)
    assert 0 < len(topics(client)) <= SLICE_MESSAGES
    house.wait(1)
    begin(client, "a/#")
    house.wait(1)
    assert set(topics(client)) == all_topics()


def test_two_who_subscribe_share_a_slice(house: House) -> None:
    first, second = house.connect("c1"), house.connect("c2")
    begin(first, "a/#")
    begin(second, "a/#")
    assert topics(first)
    assert topics(second) == []
    house.wait(2.5 * PAUSE_SECONDS)
    assert topics(second)
    house.wait(1)
    assert set(topics(second)) < all_topics()


def test_what_comes_meanwhile_comes_once_and_nothing_older_behind_it(house: House) -> None:
    client, publisher = house.connect("c1"), house.connect("c2")
    begin(client, "a/#")
    for number in range(MANY):
        publisher.publish(f"a/{number}", b"new", retain=True)
    house.wait(1)
    last: dict[str, bytes] = {}
    times: dict[str, int] = {}
    for packet in client.take(PublishPacket):
        last[packet.topic] = packet.payload
        times[packet.topic] = times.get(packet.topic, 0) + (packet.payload == b"new")
    assert last == dict.fromkeys(all_topics(), b"new")
    assert set(times.values()) == {1}


def test_unsubscribe_ends_it(house: House) -> None:
    client = house.connect("c1")
    begin(client, "a/#")
    client.send(UnsubscribePacket(2, ["a/#"]))
    client.inbox.clear()
    house.wait(1)
    assert client.inbox == []


def test_the_end_of_the_session_ends_it_and_gives_the_memory_back(house: House) -> None:
    house.core.tick(house.now)
    used = house.core.budget.used_bytes
    client = house.connect("c1")
    begin(client, "a/#", "a/+", "#")
    client.drop()
    assert house.core.budget.used_bytes == used
    assert house.core.next_deadline() is not None
    house.wait(1)
    assert house.core.next_deadline() is None


def test_a_client_that_goes_finds_the_rest_when_it_comes_back(house: House) -> None:
    publisher = house.connect("c2")
    for number in range(MANY):
        publisher.publish(f"a/{number}", b"old", retain=True, qos=1)
    client = house.resume("c1")
    begin(client, "a/#")
    got = set(topics(client))
    client.drop()
    house.wait(1)
    got |= set(topics(house.resume("c1")))
    assert got == all_topics()


def test_a_filter_that_a_packet_has_many_times_gets_them_once(house: House) -> None:
    client = house.connect("c1")
    begin(client, *["a/#"] * 100)
    house.wait(1)
    assert sorted(topics(client)) == sorted(all_topics())


def test_a_new_subscription_that_wants_none_does_not_end_what_the_one_before_began(
    house: House,
) -> None:
    client = house.connect("c1")
    begin(client, "a/#")
    filters = [TopicFilter("a/#", retain_handling=RetainHandling.SEND_NEVER)]
    client.send(SubscribePacket(2, filters, subscription_id=7))
    house.wait(1)
    came = client.take(PublishPacket)
    assert {packet.topic for packet in came} == all_topics()
    assert came[-1].subscription_ids == [7]


def test_a_filter_that_matches_nothing_is_looked_for_in_slices_too(house: House) -> None:
    client = house.connect("c1")
    publisher = house.connect("c2")
    for number in range(MANY, 20 * SLICE_MESSAGES):
        publisher.publish(f"a/{number}", b"", retain=False)
        publisher.publish(f"a/{number}", b"old", retain=True)
    begin(client, "+/+/none", "a/0")
    assert topics(client) == []
    house.wait(1)
    assert topics(client) == ["a/0"]


def test_a_device_gets_no_more_than_its_pace_allows_and_is_read_from_meanwhile() -> None:
    house = House(device_messages_per_second=100, rate_burst_seconds=1)
    publisher = house.connect("c-publisher")
    for number in range(MANY):
        publisher.publish(f"a/{number}", b"old", retain=True)
    house.principals["d1"] = device("d1")
    client = house.connect("d1", username="d1")
    begin(client, "a/#")
    house.wait(1)
    first = len(topics(client))
    assert first <= SLICE_MESSAGES
    assert client.reading
    house.wait(60)
    assert first + len(topics(client)) == MANY


def test_each_filter_of_a_packet_counts_for_a_devices_pace() -> None:
    house = House(device_messages_per_second=100, rate_burst_seconds=1)
    house.principals["d1"] = device("d1")
    client = house.connect("d1", username="d1")
    begin(client, *["a"] * 90)
    assert client.reading
    begin(client, *["a"] * 90)
    assert not client.reading


def test_filters_that_are_refused_are_told_in_one_line() -> None:
    house = House()
    house.principals["d1"] = device("d1", rights=Rights())
    client = house.connect("d1", username="d1")
    before = len(house.notices)
    begin(client, *(f"a/{number}" for number in range(1_000)))
    (line,) = house.notices[before:]
    assert line.startswith("d1: SUBSCRIBE to 'a/0', 'a/1', ")
    assert line.endswith(" and 990 others refused: not allowed")
