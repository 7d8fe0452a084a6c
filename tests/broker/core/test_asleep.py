"""Subscriptions that their owner may not have for a while."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mqtt5 import QoS, UnsubAckPacket, UnsubscribePacket, Will

from broker.auth.identity import Login
from broker.auth.principal import Principal, Rights, Rules
from mqtt.topics import TopicFilter
from tests.broker.core.harness import Client, House, device, service


def may(*filters: str) -> Principal:
    rules = Rules(allow=tuple(TopicFilter.parse(each) for each in filters))
    return service(rights=Rights(subscribe=rules))


def proved(principal: Principal) -> Login:
    return Login(principal=principal, credential="password")


def suit(house: House, client_id: str, principal: Principal) -> None:
    """As a change in the registry does, for one who is connected or away."""
    session = house.core.sessions.get(client_id)
    assert session is not None
    if session.connection is None:
        house.core.admitting.suit_away(session, principal, house.now)
    else:
        house.core.admitting.permit(session.connection, proved(principal), house.now, until=None)
    house.settle()


def publish(house: House, payload: bytes, topic: str = "b") -> None:
    house.connect("c-publisher").publish(topic, payload, qos=1)


@pytest.mark.parametrize("away", [False, True])
def test_what_is_not_allowed_gets_nothing_and_is_there_again_when_it_is(
    away: bool, tmp_path: Path
) -> None:
    house = House(store=tmp_path / "broker.db")
    client = house.resume("c1")
    client.subscribe("a", "b")
    if away:
        client.drop()
    suit(house, "c1", may("a"))
    publish(house, b"not allowed")
    publish(house, b"a", "a")
    suit(house, "c1", may("a", "b"))
    publish(house, b"allowed again")
    if away:
        client = house.resume("c1")
    assert client.payloads() == [b"a", b"allowed again"]


def test_a_sleeping_one_outlives_the_process_and_is_judged_anew(tmp_path: Path) -> None:
    house = House(store=tmp_path / "broker.db")
    house.resume("c1").subscribe("b")
    suit(house, "c1", may("a"))
    house.crash()
    suit(house, "c1", may("a"))
    publish(house, b"not allowed")
    suit(house, "c1", may("b"))
    publish(house, b"allowed")
    assert house.resume("c1").payloads() == [b"allowed"]


@pytest.mark.parametrize("pattern", ["b", "$share/g/b"])
def test_a_sleeping_one_sleeps_at_a_start_before_any_will_is_published(
    tmp_path: Path, pattern: str
) -> None:
    house = House(store=tmp_path / "broker.db")
    house.principals["d1"] = device("d1")
    house.resume("d1", username="d1").subscribe(pattern)
    house.resume("c-other").subscribe(pattern)
    house.connect("c-gone", will=Will("b", payload=b"will", qos=QoS(1)))
    house.principals["d1"] = device("d1", rights=may("a").grants[0].rights)
    house.crash()
    assert f"d1: subscription to {pattern!r} sleeps: not allowed any more" in house.notices
    suit(house, "d1", device("d1"))
    assert house.resume("d1", username="d1").payloads() == []
    assert house.resume("c-other").payloads() == [b"will"]


def test_what_a_share_group_held_stays_with_its_last_member_that_sleeps_at_a_start(
    tmp_path: Path,
) -> None:
    house = House(store=tmp_path / "broker.db")
    house.principals["d1"] = device("d1")
    client = house.resume("d1", username="d1")
    client.subscribe("$share/g/b")
    client.drop()
    publish(house, b"before")
    house.connect("c-gone", will=Will("b", payload=b"will", qos=QoS(1)))
    house.principals["d1"] = device("d1", rights=may("a").grants[0].rights)
    house.crash()
    house.crash()
    assert house.resume("d1", username="d1").payloads() == [b"before"]


def test_what_waits_for_a_share_group_is_not_lost_with_its_last_member_s_right() -> None:
    house = House()
    client = house.resume("c1")
    client.subscribe("$share/g/b")
    client.drop()
    publish(house, b"before")
    suit(house, "c1", may("a"))
    publish(house, b"meanwhile")
    suit(house, "c1", may("b"))
    publish(house, b"after")
    assert house.resume("c1").payloads() == [b"before", b"after"]


def ended_by_unsubscribe(client: Client) -> None:
    client.send(UnsubscribePacket(9, ["b"]))
    assert [int(code) for code in client.one(UnsubAckPacket).reason_codes] == [0]


def ended_by_a_refused_subscribe(client: Client) -> None:
    assert client.subscribe("b") == [0x87]


@pytest.mark.parametrize("end", [ended_by_unsubscribe, ended_by_a_refused_subscribe])
def test_a_client_can_end_one_that_sleeps(end: Callable[[Client], None], tmp_path: Path) -> None:
    house = House(store=tmp_path / "broker.db")
    client = house.resume("c1")
    client.subscribe("b")
    charged = house.core.budget.used_bytes
    suit(house, "c1", may("a"))
    assert house.core.budget.used_bytes == charged
    end(client)
    assert house.core.budget.used_bytes < charged
    suit(house, "c1", may("b"))
    publish(house, b"x")
    assert client.payloads() == []
    house.crash()
    publish(house, b"y")
    assert house.resume("c1").payloads() == []
