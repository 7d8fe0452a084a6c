"""What waits for the commit, what need not, and what is never written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mqtt5 import PubAckPacket, PublishPacket, QoS

from broker.core.actions import Write
from mqtt.codec import encode
from tests.broker.core.harness import Client, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(store=tmp_path / "broker.db")


@pytest.fixture
def lasting(house: House) -> Callable[[int], Client]:
    """A subscriber whose session is stored."""

    def connect(qos: int) -> Client:
        client = house.resume("c1")
        client.subscribe("a", qos=qos)
        return client

    return connect


def feed(client: Client, *packets: PublishPacket | PubAckPacket) -> None:
    """What a client sends, of which nothing is done yet."""
    data = b"".join(encode(packet, client.protocol) for packet in packets)
    client.house.core.feed(client.connection, data, client.house.now)


def publish(packet_id: int = 1, *, qos: int = 1) -> PublishPacket:
    return PublishPacket("a", b"x", qos=QoS(qos), packet_id=packet_id)


def kinds(writes: list[Write], client: Client) -> list[int]:
    """The first bytes' upper halves of what is written to a client."""
    return [write.data[0] >> 4 for write in writes if write.connection is client.connection]


PUBLISH, PUBACK, PUBREC = 3, 4, 5


def test_at_qos_1_a_message_leaves_before_the_commit_and_its_acknowledgement_after_it(
    house: House, lasting: Callable[[int], Client]
) -> None:
    reader, writer = lasting(1), house.connect("c2")
    feed(writer, publish())
    turn = house.core.take_turn()
    assert turn.changes.messages
    assert kinds(turn.early, reader) == [PUBLISH]
    assert kinds(turn.early, writer) == []
    assert kinds(turn.writes, writer) == [PUBACK]


def test_at_qos_2_a_message_leaves_after_the_commit(
    house: House, lasting: Callable[[int], Client]
) -> None:
    reader, writer = lasting(2), house.connect("c2")
    feed(writer, publish(qos=2))
    turn = house.core.take_turn()
    assert turn.early == []
    assert kinds(turn.writes, reader) == [PUBLISH]
    assert kinds(turn.writes, writer) == [PUBREC]


def test_a_message_does_not_overtake_what_the_same_client_was_to_get_before_it(
    house: House, lasting: Callable[[int], Client]
) -> None:
    """An acknowledgement that waits for its commit; before the turn is taken, and after it."""
    reader, writer = lasting(1), house.connect("c2")
    feed(reader, PublishPacket("elsewhere", b"", qos=QoS(1), packet_id=9))
    feed(writer, publish(1))
    turn = house.core.take_turn()
    assert turn.early == []
    (write,) = (write for write in turn.writes if write.connection is reader.connection)
    assert write.data[0] >> 4 == PUBACK
    assert b"a\0" in write.data
    feed(writer, publish(2))
    assert house.core.take_early() == []
    house.core.written(reader.connection, 0, house.now)
    feed(writer, publish(3))
    assert house.core.take_early() == []
    assert kinds(house.core.take_turn().writes, reader) == [PUBLISH]


def test_messages_leave_while_a_commit_is_under_way(
    house: House, lasting: Callable[[int], Client]
) -> None:
    reader, writer = lasting(1), house.connect("c2")
    feed(writer, publish(1))
    turn = house.core.take_turn()
    for write in turn.early:
        house.core.written(write.connection, 0, house.now)
    feed(writer, publish(2))
    assert kinds(house.core.take_early(), reader) == [PUBLISH]
    assert not house.core.has_early
    assert house.core.has_work


def test_nobody_waits_for_what_says_that_a_message_has_arrived(
    house: House, lasting: Callable[[int], Client]
) -> None:
    reader, writer = lasting(1), house.connect("c2")
    feed(writer, publish())
    turn = house.core.take_turn()
    for write in turn.early + turn.writes:
        house.core.written(write.connection, 0, house.now)
    feed(reader, PubAckPacket(1))
    assert not house.core.has_work
    assert house.core.has_changes
    assert house.core.take_turn().changes.deliveries_gone == [1]
    assert not house.core.has_changes


def test_what_was_acknowledged_by_the_turn_s_end_is_never_written(
    house: House, lasting: Callable[[int], Client]
) -> None:
    reader, writer = lasting(1), house.connect("c2")
    feed(writer, publish(1), publish(2))
    for write in house.core.take_early():
        house.core.written(write.connection, 0, house.now)
    feed(reader, PubAckPacket(1))
    turn = house.core.take_turn()
    assert [row[0] for row in turn.changes.messages] == [1]
    assert [row[-1] for row in turn.changes.deliveries] == [2]
    assert turn.changes.deliveries_gone == []
    feed(writer, publish(3))
    feed(reader, PubAckPacket(3))
    feed(writer, publish(4))
    feed(reader, PubAckPacket(4), PubAckPacket(2))
    turn = house.core.take_turn()
    assert turn.changes.messages == []
    assert turn.changes.deliveries_gone == [1]
    assert turn.changes.messages_gone == [1]


def test_a_message_for_somebody_who_is_away_is_written_whoever_else_has_acknowledged_it(
    house: House, lasting: Callable[[int], Client]
) -> None:
    away = house.resume("c3")
    away.subscribe("a")
    away.drop()
    reader, writer = lasting(1), house.connect("c2")
    feed(writer, publish())
    for write in house.core.take_early():
        house.core.written(write.connection, 0, house.now)
    feed(reader, PubAckPacket(1))
    turn = house.core.take_turn()
    assert [row[1] for row in turn.changes.deliveries] == ["c3"]
    assert house.store is not None
    house.store.commit(turn.changes)
    house.crash()
    assert house.resume("c3").payloads() == [b"x"]
