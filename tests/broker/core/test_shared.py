"""One member of a share group gets each message, and nothing is stranded with one that is gone."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt5 import (
    DisconnectPacket,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRecPacket,
    UnsubscribePacket,
)

from broker.core.limits import QueueLimits
from broker.core.session import Session
from tests.broker.core.harness import V311, Client, House
from tests.harness.conformance import conforms


def members(house: House, count: int, **options: Any) -> list[Client]:
    clients = [house.resume(f"c{number}", **options) for number in range(count)]
    for client in clients:
        assert client.subscribe("$share/g/a/#") == [1]
    return clients


def publish(house: House, count: int, qos: int = 1) -> list[int]:
    publisher = house.connect("c-publisher")
    for number in range(count):
        publisher.publish("a/b", b"%d" % number, qos=qos)
    return [int(packet.reason_code) for packet in publisher.take(PubAckPacket)]


def test_mqtt_4_8_2_each_message_goes_to_one_member_in_turn() -> None:
    house = House()
    first, second = members(house, 2)
    publish(house, 4)
    assert first.payloads() == [b"0", b"2"]
    assert second.payloads() == [b"1", b"3"]


def test_groups_and_plain_subscriptions_each_get_their_own() -> None:
    house = House()
    (member,) = members(house, 1)
    other = house.connect("c8", V311)
    other.subscribe("$share/h/a/b")
    plain = house.connect("c9")
    plain.subscribe("a/b")
    publish(house, 1)
    assert [client.payloads() for client in (member, other, plain)] == [[b"0"]] * 3


def test_a_member_without_room_is_passed_over() -> None:
    house = House()
    slow = house.resume("c-slow", receive_max=1)
    slow.subscribe("$share/g/a/#")
    (fast,) = members(house, 1)
    publish(house, 5)
    assert len(slow.payloads()) == 1
    assert len(fast.payloads()) == 4


def test_the_member_with_the_least_on_its_way_gets_the_next_message() -> None:
    house = House()
    quick, slow = members(house, 2)
    publisher = house.connect("c-publisher")
    taken = []
    for number in range(10):
        publisher.publish("a/b", b"%d" % number, qos=1)
        for packet in quick.take(PublishPacket):
            taken.append(packet.payload)
            quick.acknowledge(packet)
    # The slow one acknowledges nothing, and has one until the other has as many.
    assert slow.payloads() == [b"1"]
    assert len(taken) == 9


def test_what_a_member_has_not_read_counts_where_nothing_is_acknowledged() -> None:
    house = House()
    quick, stalled = members(house, 2)
    stalled.reads = False
    publish(house, 10, qos=0)
    assert len(stalled.payloads()) == 1
    assert len(quick.payloads()) == 9


def test_members_with_equal_loads_take_turns_however_many_they_are() -> None:
    house = House()
    clients = members(house, 30)
    publish(house, 60)
    assert [len(client.payloads()) for client in clients] == [2] * 30


def test_a_message_costs_the_same_however_many_members_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()
    clients = members(house, 100)
    for away in clients[20:]:
        away.drop()
    looked_at: list[Session] = []

    def counted(session: Session, write_buffer_bytes: int) -> bool:
        looked_at.append(session)
        return has_room(session, write_buffer_bytes)

    has_room = Session.has_room
    publish(house, 20)
    monkeypatch.setattr(Session, "has_room", counted)
    publish(house, 20)
    assert len(looked_at) <= 20 * 8


def test_a_member_that_is_away_gets_nothing_while_another_is_connected_and_full() -> None:
    house = House()
    here = house.resume("c-here", receive_max=1)
    here.subscribe("$share/g/a/#")
    (away,) = members(house, 1)
    away.drop()
    publish(house, 3)
    got = []
    while packets := here.take(PublishPacket):
        got += [packet.payload for packet in packets]
        here.acknowledge(packets[0])
    assert got == [b"0", b"1", b"2"]
    assert house.resume("c0").payloads() == []


def test_a_member_that_is_away_is_passed_over() -> None:
    house = House()
    here, away = members(house, 2)
    away.drop()
    assert publish(house, 3) == [0, 0, 0]
    assert here.payloads() == [b"0", b"1", b"2"]


def test_what_nobody_has_room_for_goes_to_whoever_has_room_first_in_order() -> None:
    house = House()
    first, second = members(house, 2, receive_max=1)
    publish(house, 6)
    one, two = first.one(PublishPacket), second.one(PublishPacket)
    second.acknowledge(two)
    three = second.one(PublishPacket)
    second.acknowledge(three)
    four = second.one(PublishPacket)
    first.acknowledge(one)
    five = first.one(PublishPacket)
    assert [p.payload for p in (one, two, three, four, five)] == [b"0", b"1", b"2", b"3", b"4"]


def test_while_all_are_away_messages_wait_for_the_first_to_return() -> None:
    house = House()
    first, second = members(house, 2)
    first.drop()
    second.drop()
    assert publish(house, 3) == [0, 0, 0]
    assert house.resume("c1").payloads() == [b"0", b"1", b"2"]


@pytest.mark.parametrize("how", ["expires", "disconnects with expiry 0", "is cleaned"])
def test_unacknowledged_qos_1_messages_of_an_ended_session_go_to_another(how: str) -> None:
    house = House()
    first, second = members(house, 2)
    publish(house, 4)
    assert second.payloads() == [b"1", b"3"]
    if how == "expires":
        first.drop()
        assert second.payloads() == []
        house.wait(3_601)
    elif how == "is cleaned":
        house.connect("c0")
    else:
        first.send(DisconnectPacket(session_expiry_interval=0))
    assert second.payloads() == [b"0", b"2"]


@conforms(v5="4.8.2-5")
def test_mqtt_4_8_2_5_a_qos_2_message_that_was_sent_goes_to_nobody_else() -> None:
    house = House()
    first, second = house.resume("c0"), house.resume("c1")
    for client in (first, second):
        client.subscribe("$share/g/a/#", qos=2)
    publish(house, 2, qos=2)
    assert first.payloads() == [b"0"]
    second.payloads()
    first.send(DisconnectPacket(session_expiry_interval=0))
    assert second.payloads() == []


@conforms(v5="4.8.2-6")
def test_mqtt_4_8_2_6_a_refused_message_goes_to_nobody_else() -> None:
    house = House()
    first, second = members(house, 2)
    publish(house, 1)
    message = first.one(PublishPacket)
    assert message.packet_id is not None
    first.send(PubAckPacket(message.packet_id, reason_code=PubAckReasonCode.QUOTA_EXCEEDED))
    first.send(DisconnectPacket(session_expiry_interval=0))
    assert second.payloads() == []


def test_the_last_member_to_unsubscribe_still_gets_what_waited() -> None:
    house = House()
    (member,) = members(house, 1, receive_max=1)
    publish(house, 3)
    member.send(UnsubscribePacket(1, ["$share/g/a/#"]))
    got = []
    while messages := member.take(PublishPacket):
        got += [packet.payload for packet in messages]
        member.acknowledge(messages[0])
    assert got == [b"0", b"1", b"2"]


def test_what_waits_in_a_group_is_bounded() -> None:
    house = House(service_queue=QueueLimits(messages=2, bytes=10_000))
    (member,) = members(house, 1)
    member.drop()
    publish(house, 5)
    assert house.core.counters.dropped_queue_full == 3
    assert house.resume("c0").payloads() == [b"0", b"1"]


def test_qos_0_is_not_kept_for_a_group_that_is_away() -> None:
    house = House()
    (member,) = members(house, 1)
    member.drop()
    publish(house, 2, qos=0)
    assert house.resume("c0").payloads() == []


def test_a_member_of_a_lower_qos_gets_the_message_at_its_own() -> None:
    house = House()
    client = house.connect("c1")
    client.subscribe("$share/g/a/#", qos=1, identifier=9)
    publish(house, 1, qos=2)
    got = client.one(PublishPacket)
    assert (int(got.qos), got.subscription_ids) == (1, [9])
    client.acknowledge(got)
    assert client.take(PubRecPacket) == []


def test_a_new_member_gets_what_waits_for_those_who_are_away() -> None:
    house = House()
    (away,) = members(house, 1)
    away.drop()
    publish(house, 2)
    newcomer = house.connect("c-new")
    newcomer.subscribe("$share/g/a/#")
    assert newcomer.payloads() == [b"0", b"1"]
