"""What clients may cost in all: who is there stays, and nothing is begun that costs more."""

from __future__ import annotations

import pytest
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    PubRelPacket,
    QoS,
    Will,
)

from broker.core.limits import Limits
from mqtt.codec import ProtocolVersion, encode
from tests.broker.core.harness import V5, V311, House

FULL = PubAckReasonCode.QUOTA_EXCEEDED
EMPTY = 40_000
"""Above what two clients cost."""


@pytest.fixture
def house() -> House:
    return House(memory_bytes=EMPTY + 50_000)


def fill(house: House) -> None:
    """With messages for ``c1``, which is away."""
    reader = house.resume("c1")
    reader.subscribe("a")
    reader.drop()
    publisher = house.connect("c2")
    while not house.core.budget.memory_is_full:
        publisher.publish("a", b"." * 5_000, qos=1)
    publisher.send(DisconnectPacket())
    house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes))


def test_publishes_are_refused_and_go_on_when_there_is_room(house: House) -> None:
    fill(house)
    publisher = house.resume("c1")
    publisher.publish("b", b"x", qos=1)
    assert publisher.one(PubAckPacket).reason_code == FULL
    assert any("PUBLISH to 'b' refused, the memory is at its limit" in x for x in house.notices)
    for packet in publisher.take(PublishPacket):
        publisher.acknowledge(packet)
    publisher.publish("b", b"x", qos=1)
    assert publisher.one(PubAckPacket).reason_code != FULL


def test_a_client_without_a_session_is_refused_and_one_that_has_one_comes_back(
    house: House,
) -> None:
    fill(house)
    for protocol, code in (
        (V5, ConnAckReasonCode.QUOTA_EXCEEDED),
        (V311, ConnAckReasonCode.SERVER_UNAVAILABLE),
    ):
        client = house.open(protocol)
        client.send(ConnectPacket("c3", clean_start=True))
        assert client.one(ConnAckPacket).reason_code == code
        assert client.closed
    back = house.resume("c1")
    assert back.take(PublishPacket)
    assert back.closed is None


def test_clean_start_is_for_who_has_a_session(house: House) -> None:
    fill(house)
    assert house.connect("c1").closed is None
    assert not house.core.budget.memory_is_full, "what waited is gone"


def test_subscriptions_are_not_added_and_those_there_are_may_be_renewed(house: House) -> None:
    fill(house)
    client = house.resume("c1")
    assert client.subscribe("a") == [1]
    assert client.subscribe("b") == [0x97]


def test_what_is_retained_counts_and_can_be_cleared(house: House) -> None:
    client = house.connect("c1")
    number = 0
    while True:
        client.publish(f"a/{number}", b"." * 5_000, qos=1, retain=True)
        if client.one(PubAckPacket).reason_code == FULL:
            break
        number += 1
    assert number > 3
    # What filled it was taken whole, so more than that must go.
    for topic in ("a/0", "a/1"):
        client.publish(topic, b"", qos=1, retain=True)
        assert client.one(PubAckPacket).reason_code != FULL
    client.publish("a/0", b"." * 3_000, qos=1, retain=True)
    assert client.one(PubAckPacket).reason_code != FULL


def test_a_retained_will_is_no_way_round_it(house: House) -> None:
    mortal = house.connect("c3", will=Will("w", payload=b".", qos=QoS.AT_MOST_ONCE, retain=True))
    fill(house)
    house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes - 20_000))
    mortal.drop()
    assert house.core.retained.get("w") is None


def test_a_client_of_3_1_1_waits_until_there_is_memory(house: House) -> None:
    old = house.connect("c8", V311)
    fill(house)
    house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes - 1))
    old.publish("b", b"x", qos=1)
    assert old.reading is False
    reader = house.resume("c1")
    for packet in reader.take(PublishPacket):
        reader.acknowledge(packet)
    assert old.reading is True
    assert old.one(PubAckPacket)


def test_everything_that_is_counted_is_given_back() -> None:
    house = House(write_buffer_bytes=2_000)
    will = Will("w", payload=b"." * 1_000, will_delay_interval=5)
    slow = house.resume("c1", will=will, receive_max=100)
    slow.subscribe("a/#", "$share/g/b")
    slow.reads = False
    other = house.connect("c2", V5, will=will)
    other.subscribe("a/b")
    for number in range(20):
        other.publish(f"a/{number}", b"." * 500, qos=2, retain=True)
        other.publish("a/b", b"." * 500, qos=1, topic_alias=1)
    other.publish("a/c", b"." * 500, topic_alias=1)
    other.send_bytes(b"\x30\xff\x7f")
    other.send(PubRelPacket(100))
    assert house.core.budget.other_bytes > 50_000
    other.drop()
    slow.drop()
    house.wait(4_000)
    for number in range(20):
        house.core.retained.clear(f"a/{number}")
    assert len(house.core.sessions) == 0
    assert house.core.budget.held_bytes == 0
    assert house.core.budget.other_bytes == 0


def test_what_is_half_sent_counts_and_ends_when_the_memory_is_full(house: House) -> None:
    client, small = house.connect("c1"), house.connect("c2")
    packet = encode(PublishPacket("a", b"." * 200_000), V5)
    before = house.core.budget.used_bytes
    small.send_bytes(packet[:100])
    client.send_bytes(packet[:60_000])
    assert house.core.budget.used_bytes - before == 60_100
    client.send_bytes(packet[60_000:100_000])
    assert client.one(DisconnectPacket).reason_code == DisconnectReasonCode.QUOTA_EXCEEDED
    assert house.core.budget.used_bytes < before + 200
    assert small.closed is None


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_large_packet_is_let_through_that_what_makes_room_may_stand_behind(
    protocol: ProtocolVersion,
) -> None:
    """Of one client at a time; whole, it is refused or thrown away."""
    house = House()
    first, second = (house.resume(name, protocol) for name in ("c1", "c2"))
    idle = house.connect("c3", protocol)
    publisher = house.connect("c9")
    for client in (first, second):
        client.subscribe("a")
    for _ in range(20):
        publisher.publish("a", b"." * 20_000, qos=1)
    got = first.take(PublishPacket)
    house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes - 30_000))
    large = encode(PublishPacket("b", b"." * 200_000, qos=QoS(1), packet_id=1), protocol)
    first.send_bytes(large[:100_000])
    assert first.closed is None
    for client in (second, idle):
        client.send_bytes(large[:100_000])
        assert client.closed is not None, "one is let through, of those who are sent something"
    first.send_bytes(large[100_000:])
    assert house.core.budget.memory_is_full
    assert house.core.budget.held_back_bytes == 0
    second = house.resume("c2", protocol)
    second.send_bytes(large)
    for packet in got:
        first.acknowledge(packet)
    for packet in second.take(PublishPacket):
        second.acknowledge(packet)
    assert not house.core.budget.memory_is_full
    # One of 3.1.1 was ended as soon as there was room.
    second = house.resume("c2", protocol)
    for packet in second.take(PublishPacket):
        second.acknowledge(packet)
    first = house.resume("c1", protocol)
    first.send_bytes(large[:100_000])
    first.send_bytes(large[100_000:])
    assert int(first.one(PubAckPacket).reason_code) < 0x80
    assert first.closed is None


def test_what_the_client_does_not_read_counts(house: House) -> None:
    slow = house.connect("c1")
    slow.subscribe("a", qos=0)
    slow.reads = False
    publisher = house.connect("c2")
    before = house.core.budget.used_bytes
    publisher.publish("a", b"." * 10_000)
    assert 10_000 < house.core.budget.used_bytes - before < 11_000
    slow.reads = True
    house.core.passed_on(slow.connection, 0, house.now)
    assert house.core.budget.used_bytes - before < 1_000


def test_topics_that_are_too_long_are_remembered_nowhere(house: House) -> None:
    client = house.connect("c1")
    before = house.core.budget.used_bytes
    for number in range(1_000):
        client.publish(f"{number}".ljust(300, "x"))
    assert house.core.budget.used_bytes == before
    assert not client.connection.permitted


def test_a_session_costs_its_client_identifier_too_and_gives_it_back() -> None:
    house = House()
    empty = house.core.budget.used_bytes
    house.resume("c").drop()
    short = house.core.budget.used_bytes - empty
    long = "c" + "\u20ac" * 300
    house.resume(long).drop()
    assert house.core.budget.used_bytes - empty - short >= short + 600
    for client_id in ("c", long):
        session = house.core.sessions.get(client_id)
        assert session is not None
        house.core.kick(session, house.now, forget=True)
    assert house.core.budget.used_bytes == empty
