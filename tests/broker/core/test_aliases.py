"""Topic aliases towards clients: for what they get most of, never more than they take."""

from __future__ import annotations

from typing import Any

from mqtt5 import PublishPacket

from broker.core.aliases import SentAliases
from broker.core.counters import Counters
from tests.broker.core.harness import V311, Client, House
from tests.harness.conformance import conforms


def subscriber(house: House, maximum: int) -> Client:
    client = house.connect("c-subscriber", topic_alias_max=maximum)
    client.subscribe("#")
    return client


def received(client: Client) -> list[tuple[str, int | None, bytes]]:
    return [(p.topic, p.topic_alias, p.payload) for p in client.take(PublishPacket)]


def test_the_first_message_sets_the_alias_and_the_next_bear_it_alone() -> None:
    house = House()
    client = subscriber(house, 1)
    publisher = house.connect("c-publisher")
    for number in range(3):
        publisher.publish("some/topic", b"%d" % number, qos=number)
    assert received(client) == [
        ("some/topic", 1, b"0"),
        ("", 1, b"1"),
        ("", 1, b"2"),
    ]
    assert house.core.counters.messages_sent_by_alias == 2


@conforms(v5="3.1.2-27")
def test_mqtt_3_1_2_27_a_client_that_takes_no_aliases_gets_none() -> None:
    house = House()
    old = house.connect("c-old", V311)
    old.subscribe("#")
    client = subscriber(house, 0)
    publisher = house.connect("c-publisher")
    for _ in range(2):
        publisher.publish("some/topic")
    assert received(client) == received(old) == [("some/topic", None, b"x")] * 2


@conforms(v5="3.1.2-26 3.3.2-11")
def test_mqtt_3_3_2_11_there_are_never_more_than_the_client_and_the_limit_allow() -> None:
    house = House(sent_topic_aliases=3)
    for maximum, expected in ((2, {1, 2, None}), (100, {1, 2, 3, None})):
        client = subscriber(house, maximum)
        publisher = house.connect("c-publisher")
        for _ in range(3):
            for topic in range(6):
                publisher.publish(f"topic/{topic}")
        assert {alias for _, alias, _ in received(client)} == expected


def test_properties_stay_beside_an_alias_and_a_retained_message_has_one() -> None:
    house = House()
    publisher = house.connect("c-publisher")
    properties: dict[str, Any] = {
        "content_type": "t" * 130,
        "user_properties": [("k", "v" * 40)],
        "message_expiry_interval": 9,
    }
    publisher.publish("some/topic", b"y" * 200, qos=1, retain=True, **properties)
    client = house.connect("c-subscriber", topic_alias_max=5)
    client.subscribe("#", identifier=300)
    publisher.publish("some/topic", b"z", qos=1, **properties)
    first, second = client.take(PublishPacket)
    assert (first.topic, first.topic_alias, first.retain) == ("some/topic", 1, True)
    assert (second.topic, second.topic_alias, second.payload) == ("", 1, b"z")
    for packet in (first, second):
        assert packet.content_type == "t" * 130
        assert packet.user_properties == [("k", "v" * 40)]
        assert packet.message_expiry_interval == 9
        assert packet.subscription_ids == [300]


@conforms(v5="3.3.2-7")
def test_a_message_sent_again_is_sent_by_name() -> None:
    house = House()
    client = house.resume("c-subscriber", topic_alias_max=5)
    client.subscribe("#")
    publisher = house.connect("c-publisher")
    for _ in range(2):
        publisher.publish("some/topic", qos=1)
    client.drop()
    # Aliases end with their connection [MQTT-3.3.2-7].
    again = house.resume("c-subscriber", topic_alias_max=5)
    assert [topic for topic, _, _ in received(again)] == ["some/topic"] * 2


def test_mqtt_3_1_2_24_an_alias_makes_no_packet_larger_than_the_client_takes() -> None:
    house = House()
    for size in range(20, 40):
        client = house.connect("c-subscriber", topic_alias_max=1, max_packet_size=size)
        client.subscribe("some/topic")
        publisher = house.connect("c-publisher")
        for _ in range(2):
            publisher.publish("some/topic", b"12345678")
        packets = client.take(PublishPacket)
        assert all(len(packet.write()) <= size for packet in packets)
        # 23 bytes without an alias, which is what decides whether it may be sent.
        assert len(packets) == (2 if size >= 23 else 0)


def test_topics_that_are_used_keep_their_aliases_from_those_that_come_once() -> None:
    aliases = SentAliases(2, Counters())
    busy = [aliases.claim(topic) for topic in ("busy/1", "busy/2")]
    for number in range(1_000):
        assert [aliases.use(topic) for topic in ("busy/1", "busy/2")] == busy
        assert aliases.claim(f"once/{number}") == 0


def test_topics_that_are_no_longer_used_give_their_aliases_up() -> None:
    aliases = SentAliases(2, Counters())
    for topic in ("old/1", "old/2"):
        aliases.claim(topic)
        for _ in range(1_000):
            aliases.use(topic)
    tries = 0
    while not aliases.use("new/1"):
        aliases.claim("new/1")
        tries += 1
    assert tries <= 2 * 16
    assert aliases.use("old/1") == 0


def test_thousands_of_topics_in_turn_cost_no_more_than_names() -> None:
    aliases = SentAliases(16, Counters())
    set_again = sum(
        bool(aliases.claim(topic))
        for _ in range(10)
        for topic in map("topic/{}".format, range(2_000))
        if not aliases.use(topic)
    )
    assert len(aliases._alias_of) == 16
    assert set_again <= 20_000 / 5
