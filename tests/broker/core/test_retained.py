"""The last retained message of a topic goes to those who subscribe later."""

from __future__ import annotations

from pathlib import Path

import pytest
from mqtt5 import PubAckPacket, PublishPacket, RetainHandling

from tests.broker.core.harness import V311, House


def retaining(house: House, *topics: str) -> None:
    publisher = house.connect("c-publisher")
    for topic in topics:
        publisher.publish(topic, topic.encode(), qos=1, retain=True)


def test_mqtt_3_3_1_5_the_last_one_is_kept_and_sent_to_a_new_subscription() -> None:
    house = House()
    publisher = house.connect("c1")
    publisher.publish("a", b"old", qos=1, retain=True)
    publisher.publish("a", b"new", qos=1, retain=True)
    later = house.connect("c2")
    later.subscribe("a", qos=0)
    got = later.one(PublishPacket)
    assert (got.payload, got.retain, int(got.qos)) == (b"new", True, 0)


def test_mqtt_3_3_1_6_an_empty_payload_clears_it() -> None:
    house = House()
    retaining(house, "a", "a/b")
    house.connect("c1").publish("a", b"", retain=True)
    later = house.connect("c2")
    later.subscribe("a/#")
    assert later.payloads() == [b"a/b"]
    assert house.core.retained.messages == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("#", {b"a", b"a/b", b"a/b/c", b"/x"}),
        ("a/#", {b"a", b"a/b", b"a/b/c"}),
        ("+", {b"a"}),
        ("+/+", {b"a/b", b"/x"}),
        ("a/+/c", {b"a/b/c"}),
        ("$test/#", {b"$test/y"}),
        ("a/b/c/d", set()),
    ],
)
def test_wildcards_find_what_they_match(pattern: str, expected: set[bytes]) -> None:
    house = House()
    retaining(house, "a", "a/b", "a/b/c", "/x", "$test/y")
    later = house.connect("c2")
    later.subscribe(pattern)
    assert set(later.payloads()) == expected


def test_mqtt_3_3_1_9_retain_handling_decides() -> None:
    house = House()
    retaining(house, "a")
    client = house.connect("c1")
    once = RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
    client.subscribe("a", retain_handling=RetainHandling.SEND_NEVER)
    assert client.payloads() == []
    client.subscribe("a", retain_handling=once)
    assert client.payloads() == []
    client.subscribe("a", retain_handling=RetainHandling.SEND_ALWAYS)
    assert client.payloads() == [b"a"]
    client.subscribe("+", retain_handling=once)
    assert client.payloads() == [b"a"]


def test_mqtt_3_3_1_12_retain_as_published_decides_the_flag_of_live_messages() -> None:
    house = House()
    plain, as_published = house.connect("c1"), house.connect("c2")
    plain.subscribe("a", retain_as_published=False)
    as_published.subscribe("a", retain_as_published=True)
    retaining(house, "a")
    assert plain.one(PublishPacket).retain is False
    assert as_published.one(PublishPacket).retain is True


def test_a_shared_subscription_gets_no_retained_messages() -> None:
    house = House()
    retaining(house, "a")
    client = house.connect("c1")
    client.subscribe("$share/g/a")
    assert client.payloads() == []


def test_a_retained_message_expires() -> None:
    house = House()
    house.connect("c1").publish("a", retain=True, message_expiry_interval=10)
    house.wait(9)
    client = house.connect("c2")
    client.subscribe("a")
    assert client.one(PublishPacket).message_expiry_interval == 1
    house.wait(1)
    client.subscribe("a")
    assert client.payloads() == []
    assert house.core.retained.messages == 0


def test_one_that_has_expired_makes_room_though_nobody_asks_for_it(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store.db", retained_messages=1)
    client = house.connect("c1")
    empty = house.core.budget.used_bytes
    client.publish("a", b"1", retain=True, message_expiry_interval=10)
    house.crash()
    house.wait(9)
    assert house.core.retained.messages == 1
    house.wait(1)
    assert (house.core.retained.messages, house.core.retained.bytes) == (0, 0)
    client = house.connect("c1")
    assert house.core.budget.used_bytes == empty
    client.publish("b", b"2", qos=1, retain=True)
    assert int(client.one(PubAckPacket).reason_code) < 0x80
    house.crash()
    later = house.connect("c2")
    later.subscribe("#")
    assert later.payloads() == [b"2"]


def test_one_that_replaces_another_has_its_own_time() -> None:
    house = House()
    client = house.connect("c1")
    client.publish("a", b"1", retain=True, message_expiry_interval=10)
    client.publish("a", b"2", retain=True)
    client.publish("b", b"3", retain=True, message_expiry_interval=10)
    client.publish("b", b"", retain=True)
    client.publish("b", b"4", retain=True, message_expiry_interval=20)
    house.wait(15)
    client.subscribe("#")
    assert sorted(client.payloads()) == [b"2", b"4"]


def test_what_is_the_servers_own_is_not_counted_when_it_is_cleared_either() -> None:
    house = House()
    used = house.core.budget.used_bytes
    house.core.own_topics.tell({"$SYS/broker/version": "1"}, house.now)
    house.core.own_topics.tell({"$SYS/broker/version": ""}, house.now)
    assert house.core.retained.get("$SYS/broker/version") is None
    assert (house.core.retained.messages, house.core.retained.bytes) == (0, 0)
    assert house.core.budget.used_bytes == used


def test_more_than_the_limit_is_refused_with_0x97() -> None:
    house = House(retained_messages=1)
    client = house.connect("c1")
    client.subscribe("#")
    client.publish("a", b"1", qos=1, retain=True)
    client.publish("a", b"2", qos=1, retain=True)
    client.publish("b", b"3", qos=1, retain=True)
    assert [int(p.reason_code) for p in client.take(PubAckPacket)] == [0, 0, 0x97]
    assert client.payloads() == [b"1", b"2"]


def test_a_3_1_1_subscriber_sees_the_flag_on_stored_messages_only() -> None:
    house = House()
    retaining(house, "a")
    client = house.connect("c1", V311)
    client.subscribe("a")
    assert client.one(PublishPacket).retain is True
    retaining(house, "a")
    assert client.one(PublishPacket).retain is False
