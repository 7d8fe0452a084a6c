"""A session outlives its connection for as long as was agreed, and no longer."""

from __future__ import annotations

import pytest
from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PubAckPacket,
    PublishPacket,
    Will,
)

from broker.auth.identity import Login
from broker.auth.principal import Rights, Rules
from broker.core.limits import QueueFull, QueueLimits
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter
from tests.broker.core.harness import NEVER, V5, V311, House, device, service
from tests.harness.conformance import conforms


@pytest.mark.parametrize("protocol", [V311, V5])
def test_mqtt_3_1_2_5_a_session_is_resumed_with_subscriptions_and_messages(
    protocol: ProtocolVersion,
) -> None:
    house = House()
    first = house.resume("c1", protocol)
    assert not first.one(ConnAckPacket).session_present
    first.subscribe("a")
    first.drop()
    house.connect("c2").publish("a", b"kept", qos=1)
    second = house.resume("c1", protocol)
    assert second.one(ConnAckPacket).session_present
    assert second.payloads() == [b"kept"]


def test_mqtt_3_1_2_4_clean_start_discards_the_session() -> None:
    house = House()
    house.resume("c1").subscribe("a")
    again = house.connect("c1")
    assert not again.one(ConnAckPacket).session_present
    house.connect("c2").publish("a")
    assert again.payloads() == []


def test_mqtt_3_1_2_23_a_session_ends_when_its_expiry_interval_has_passed() -> None:
    house = House()
    house.resume("c1", session_expiry_interval=10).drop()
    house.wait(9)
    second = house.resume("c1", session_expiry_interval=10)
    assert second.one(ConnAckPacket).session_present
    house.wait(20)
    second.drop()
    house.wait(11)
    assert len(house.core.sessions) == 0


def test_a_session_without_an_expiry_interval_ends_with_its_connection() -> None:
    house = House()
    house.connect("c1").drop()
    assert len(house.core.sessions) == 0


def test_the_servers_limit_holds_for_sessions_that_would_never_expire() -> None:
    house = House(session_expiry_seconds=100)
    house.resume("c1", session_expiry_interval=NEVER).drop()
    house.resume("c2", V311).drop()
    house.wait(101)
    assert len(house.core.sessions) == 0


def test_a_session_can_last_for_ever() -> None:
    house = House(session_expiry_seconds=NEVER)
    house.resume("c1", session_expiry_interval=NEVER).drop()
    house.wait(10 * 365 * 86_400)
    assert len(house.core.sessions) == 1


def test_disconnect_may_change_the_expiry_interval() -> None:
    house = House()
    client = house.resume("c1")
    client.send(DisconnectPacket(session_expiry_interval=0))
    assert client.closed
    assert len(house.core.sessions) == 0


def test_mqtt_3_14_2_2_disconnect_may_not_set_an_expiry_where_connect_had_none() -> None:
    client = House().connect("c1")
    client.send(DisconnectPacket(session_expiry_interval=10))
    assert int(client.one(DisconnectPacket).reason_code) == 0x82


@pytest.mark.parametrize("protocol", [V311, V5])
def test_mqtt_3_1_4_3_a_second_connection_takes_the_session_over(
    protocol: ProtocolVersion,
) -> None:
    house = House()
    old = house.resume("c1", protocol)
    old.subscribe("a")
    new = house.resume("c1", protocol)
    assert old.closed
    said = [int(packet.reason_code) for packet in old.take(DisconnectPacket)]
    assert said == ([0x8E] if protocol is V5 else [])
    assert new.one(ConnAckPacket).session_present
    old.drop()
    house.connect("c2").publish("a", b"x")
    assert new.payloads() == [b"x"]


def test_a_queue_is_bounded_and_its_losses_are_counted_and_logged() -> None:
    house = House(service_queue=QueueLimits(messages=3, bytes=10_000))
    away = house.resume("c1")
    away.subscribe("a")
    away.drop()
    publisher = house.connect("c2")
    for number in range(10):
        publisher.publish("a", b"%d" % number, qos=1)
    assert house.core.counters.dropped_queue_full == 7
    assert sum("queue full" in notice for notice in house.notices) == 1
    house.wait(10)
    assert house.notices[-1].endswith("queue full (3 messages, 10000 bytes): 6 messages")
    assert house.resume("c1").payloads() == [b"0", b"1", b"2"]


def test_the_oldest_can_be_dropped_instead() -> None:
    house = House(
        service_queue=QueueLimits(messages=2, bytes=10_000), queue_full=QueueFull.DROP_OLDEST
    )
    away = house.resume("c1")
    away.subscribe("a")
    away.drop()
    publisher = house.connect("c2")
    for number in range(4):
        publisher.publish("a", b"%d" % number, qos=1)
    assert house.resume("c1").payloads() == [b"2", b"3"]


def test_a_queue_is_bounded_in_bytes_too_what_is_in_flight_included() -> None:
    house = House(service_queue=QueueLimits(messages=1_000, bytes=7_000))
    subscriber = house.connect("c1")
    subscriber.subscribe("a")
    publisher = house.connect("c2")
    for _ in range(20):
        publisher.publish("a", b"x" * 99, qos=1)
    sent = subscriber.take(PublishPacket)
    session = house.core.sessions.get("c1")
    assert session is not None
    assert session.held_bytes <= 7_000
    assert len(sent) == 10
    for packet in sent:
        subscriber.acknowledge(packet)
    assert session.held_bytes == 0


def test_a_client_that_reads_nothing_is_sent_no_more_than_the_write_buffer() -> None:
    house = House(
        write_buffer_bytes=10_000, service_queue=QueueLimits(messages=100_000, bytes=50_000)
    )
    stalled = house.connect("c1")
    stalled.subscribe("a")
    stalled.reads = False
    publisher = house.connect("c2")
    for _ in range(1_000):
        publisher.publish("a", b"x" * 1_000, qos=0)
        publisher.publish("a", b"x" * 1_000, qos=1)
    assert stalled.connection.buffered_bytes < 12_000
    session = house.core.sessions.get("c1")
    assert session is not None
    assert session.held_bytes <= 50_000
    assert publisher.closed is None


@conforms(v5="3.14.2-1")
def test_shutting_down_tells_every_client_with_0x8b() -> None:
    house = House()
    clients = [house.connect(f"c{number}") for number in range(2)]
    house.core.shut_down(house.now)
    house.settle()
    for client in clients:
        said = client.one(DisconnectPacket).reason_code
        assert said == DisconnectReasonCode.SERVER_SHUTTING_DOWN
        assert client.closed


@conforms(v5="2.2.1-4 4.3.2-1 4.3.3-1", v311="2.3.1-4")
def test_packet_identifiers_are_not_used_twice_at_once() -> None:
    house = House()
    subscriber = house.connect("c1", receive_max=65_535)
    subscriber.subscribe("a")
    session = house.core.sessions.get("c1")
    assert session is not None
    session.last_packet_id = 65_534
    publisher = house.connect("c2")
    for _ in range(3):
        publisher.publish("a", qos=1)
    first = subscriber.take(PublishPacket)
    assert [packet.packet_id for packet in first] == [65_535, 1, 2]
    session.last_packet_id = 65_535
    publisher.publish("a", qos=1)
    assert subscriber.one(PublishPacket).packet_id == 3
    session.released[4] = None
    publisher.publish("a", qos=1)
    assert subscriber.one(PublishPacket).packet_id == 5


def test_a_resumed_session_keeps_only_the_subscriptions_that_its_owner_may_still_have() -> None:
    house = House()
    first = house.resume("c1")
    first.subscribe("a", "b", "$share/g/b")
    first.drop()
    only_a = Rights(subscribe=Rules(allow=(TopicFilter.parse("a"),)))
    house.principals[None] = service(rights=only_a)
    second = house.resume("c1")
    house.principals[None] = service()
    publisher = house.connect("c2")
    publisher.publish("a", b"allowed", qos=1)
    publisher.publish("b", b"not any more", qos=1)
    assert second.payloads() == [b"allowed"]
    ended = [notice for notice in house.notices if "not allowed any more" in notice]
    assert ended == [
        "c1: subscription to 'b' sleeps: not allowed any more",
        "c1: subscription to '$share/g/b' sleeps: not allowed any more",
    ]


def test_new_rights_end_what_is_not_allowed_any_more_and_nothing_else() -> None:
    house = House()
    house.principals["d1"] = device("d1")
    client = house.resume("d1", username="d1", will=Will("other", payload=b"x"))
    client.subscribe("a", "b")
    client.publish("out", qos=1)
    only_a = Rights(subscribe=Rules(allow=(TopicFilter.parse("a"),)))
    login = Login(principal=device("d1", rights=only_a), credential="d1/p")
    house.core.admitting.permit(client.connection, login, house.now, until=house.now + 5)
    house.settle()
    session = house.core.sessions.get("d1")
    assert session is not None
    assert list(session.subscriptions) == ["a"]
    client.inbox.clear()
    client.publish("out", qos=1)
    assert int(client.one(PubAckPacket).reason_code) == 0x87
    watcher = house.connect()
    watcher.subscribe("other")
    assert client.closed is None
    house.wait(6)
    assert client.closed is not None
    assert watcher.payloads() == []


def test_who_is_expelled_is_told_and_its_session_stays() -> None:
    house = House()
    client = house.resume()
    house.core.admitting.expel(client.connection, "it is blocked", principal=service())
    house.core.admitting.tell_expelled(client.connection, house.now)
    house.settle()
    packet = client.one(DisconnectPacket)
    assert (int(packet.reason_code), packet.reason_str) == (0x87, "it is blocked")
    assert house.core.sessions.get("c") is not None
