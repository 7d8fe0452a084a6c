"""What may wait in all: publishes are refused (5.0), or not read (3.1.1)."""

from __future__ import annotations

import pytest
from mqtt5 import (
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    Will,
)

from broker.core.limits import Limits
from tests.broker.core.harness import V5, V311, Client, House

BIG = b"." * 3_000
"""With the 600 bytes beside it that each counts for, two of these are more than 6,000."""


@pytest.fixture
def house() -> House:
    return House(queued_bytes=6_000)


def subscriber_away(house: House, *names: str) -> None:
    for name in names:
        client = house.resume(name)
        client.subscribe("a")
        client.drop()


def fill(house: House) -> Client:
    publisher = house.connect("c9")
    publisher.publish("a", b"0" + BIG, qos=1)
    publisher.publish("a", b"1" + BIG, qos=1)
    assert [ack.reason_code for ack in publisher.take(PubAckPacket)] == [0, 0]
    return publisher


def test_a_publish_beyond_it_is_refused_and_one_after_it_is_not(house: House) -> None:
    subscriber_away(house, "c1")
    publisher = fill(house)
    publisher.publish("a", b"2", qos=1)
    assert publisher.one(PubAckPacket).reason_code == PubAckReasonCode.QUOTA_EXCEEDED
    publisher.publish("a", b"3", qos=2)
    assert publisher.one(PubRecPacket).reason_code == 0x97
    publisher.publish("a", b"4")
    assert house.core.counters.publishes_refused == 3
    assert publisher.closed is None
    reader = house.resume("c1")
    got = reader.take(PublishPacket)
    assert [packet.payload[:1] for packet in got] == [b"0", b"1"]
    for packet in got:
        reader.acknowledge(packet)
    assert house.core.budget.held_bytes == 0
    publisher.publish("a", b"5", qos=1)
    assert publisher.one(PubAckPacket).reason_code == PubAckReasonCode.SUCCESS
    assert reader.payloads() == [b"5"]


def test_a_message_counts_once_however_many_wait_for_it(house: House) -> None:
    subscriber_away(house, "c1", "c2", "c3")
    publisher = house.connect("c9")
    publisher.publish("a", BIG, qos=1)
    once = house.core.budget.held_bytes
    assert len(BIG) < once < 2 * len(BIG)
    for name in ("c1", "c2"):
        reader = house.resume(name)
        reader.acknowledge(reader.one(PublishPacket))
        assert house.core.budget.held_bytes == once
    reader = house.resume("c3")
    reader.acknowledge(reader.one(PublishPacket))
    assert house.core.budget.held_bytes == 0


def test_what_waits_in_a_share_group_counts_too(house: House) -> None:
    member = house.resume("c1")
    member.subscribe("$share/g/a")
    member.drop()
    publisher = fill(house)
    publisher.publish("a", b"2", qos=1)
    assert publisher.one(PubAckPacket).reason_code == PubAckReasonCode.QUOTA_EXCEEDED
    member = house.resume("c1")
    for packet in member.take(PublishPacket):
        member.acknowledge(packet)
    assert house.core.budget.held_bytes == 0


def test_a_client_of_3_1_1_is_not_read_from_until_there_is_room(house: House) -> None:
    subscriber_away(house, "c1")
    fill(house)
    old = house.connect("c8", V311, keep_alive=10)
    for number in (2, 3):
        old.publish("a", b"%d" % number, qos=number - 1)
    assert old.reading is False
    assert old.closed is None
    assert not old.take(PubAckPacket)
    # Its silence is the server's doing.
    house.wait(60)
    assert old.closed is None
    assert house.core.counters.publishers_stalled == 1
    reader = house.resume("c1")
    first, second = reader.take(PublishPacket)
    reader.acknowledge(first)
    assert old.reading is True
    assert len(old.take(PubAckPacket)) == 1
    release = old.one(PubRecPacket).packet_id
    old.send(PubRelPacket(release))
    reader.acknowledge(second)
    assert reader.payloads() == [b"2", b"3"]


def test_a_client_of_3_1_1_that_leaves_meanwhile_is_forgotten(house: House) -> None:
    subscriber_away(house, "c1")
    fill(house)
    old = house.connect("c8", V311)
    old.publish("a", b"2", qos=1)
    old.drop()
    reader = house.resume("c1")
    for packet in reader.take(PublishPacket):
        reader.acknowledge(packet)
    # It was never acknowledged, so it is the client's to send again.
    assert reader.payloads() == []


def test_qos_0_of_3_1_1_is_dropped_and_stops_nobody(house: House) -> None:
    subscriber_away(house, "c1")
    fill(house)
    old = house.connect("c8", V311)
    old.publish("a", b"2")
    assert old.reading is True
    assert house.core.counters.publishes_refused == 1


def test_a_higher_limit_lets_those_go_on_who_wait(house: House) -> None:
    subscriber_away(house, "c1")
    fill(house)
    old = house.connect("c8", V311)
    old.publish("a", b"2", qos=1)
    assert old.reading is False
    house.core.change_limits(Limits(queued_bytes=100_000))
    house.wait(1)
    assert old.reading is True
    assert len(old.take(PubAckPacket)) == 1


def test_wills_are_published_all_the_same(house: House) -> None:
    subscriber_away(house, "c1")
    fill(house)
    mortal = house.connect("c7", V5, will=Will("a", payload=b"gone", qos=QoS.AT_LEAST_ONCE))
    mortal.drop()
    reader = house.resume("c1")
    assert [payload[:4] for payload in reader.payloads()][-1] == b"gone"
