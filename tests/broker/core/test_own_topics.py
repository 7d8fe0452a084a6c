"""What the server tells of itself: to whom, when, and that nobody else can."""

from __future__ import annotations

from pathlib import Path

from mqtt5 import ConnAckPacket, ConnectPacket, PubAckPacket, PublishPacket, QoS, Will

from broker.auth.principal import Rights, Rules
from mqtt.topics import TopicFilter
from tests.broker.core.harness import House, open_store, service

EVERYTHING = Rules(allow=(TopicFilter("#"), TopicFilter("$SYS/#")))


def test_those_who_subscribed_get_what_changes_and_newcomers_what_is() -> None:
    house = House()
    house.principals[None] = service(rights=Rights(subscribe=EVERYTHING))
    first = house.connect("c-1")
    first.subscribe("$SYS/#", qos=1)
    for values in ({"$SYS/a": "1", "$SYS/b": "x"}, {"$SYS/a": "2", "$SYS/b": "x"}):
        house.core.own_topics.tell(values, house.now)
        house.settle()
    got = [(each.topic, each.payload, each.retain) for each in first.take(PublishPacket)]
    assert got == [("$SYS/a", b"1", False), ("$SYS/b", b"x", False), ("$SYS/a", b"2", False)]
    second = house.connect("c-2")
    second.subscribe("$SYS/+")
    told = {(each.topic, each.payload, each.retain) for each in second.take(PublishPacket)}
    assert told == {("$SYS/a", b"2", True), ("$SYS/b", b"x", True)}


def test_a_wildcard_at_the_first_level_does_not_match_them() -> None:
    """[MQTT-4.7.2-1]"""
    house = House()
    house.principals[None] = service(rights=Rights(subscribe=EVERYTHING))
    client = house.connect("c-1")
    client.subscribe("#")
    client.subscribe("+/a")
    house.core.own_topics.tell({"$SYS/a": "1"}, house.now)
    house.settle()
    assert client.take(PublishPacket) == []


def test_no_role_lets_a_client_speak_for_the_server() -> None:
    house = House()
    rights = Rights(publish=EVERYTHING, subscribe=EVERYTHING, will=EVERYTHING)
    house.principals[None] = service(rights=rights)
    client = house.connect("c-1")
    client.subscribe("$SYS/#")
    client.publish("$SYS/a", b"lie", qos=1)
    (answer,) = client.take(PubAckPacket)
    assert int(answer.reason_code) == 0x87
    assert client.take(PublishPacket) == []
    late = house.open()
    late.send(ConnectPacket("c-2", will=Will(topic="$SYS/a", payload=b"", qos=QoS(0))))
    (refused,) = late.take(ConnAckPacket)
    assert int(refused.reason_code) == 0x87


def test_they_are_not_stored(tmp_path: Path) -> None:
    house = House(store=tmp_path / "broker.db")
    house.principals[None] = service(rights=Rights(subscribe=EVERYTHING))
    reader = house.resume("c-1")
    reader.subscribe("$SYS/#", qos=1)
    reader.drop()
    house.core.own_topics.tell({"$SYS/a": "1"}, house.now)
    house.core.own_topics.tell({"$SYS/a": "2"}, house.now)
    house.settle()
    assert house.store is not None
    house.store.close()
    store = open_store(tmp_path / "broker.db")
    stored = store.load()
    assert (list(stored.messages), list(stored.retained), len(stored.sessions)) == ([], [], 1)
    store.close()
