"""What a full queue gives up, and that whatever a session holds is sent, however full it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mqtt5 import PublishPacket, UnsubscribePacket

from broker.core.limits import QueueFull, QueueLimits
from broker.core.message import OVERHEAD_BYTES
from broker.core.session import Session
from broker.core.sharing import ShareGroup
from tests.broker.core.harness import Client, House

both_policies = pytest.mark.parametrize("policy", list(QueueFull))


def house(messages: int, size: int = 10**6, **limits: Any) -> House:
    return House(service_queue=QueueLimits(messages=messages, bytes=size), **limits)


def session_of(at: House, client_id: str = "c1") -> Session:
    session = at.core.sessions.get(client_id)
    assert session is not None
    return session


def group_of(at: House, client_id: str) -> ShareGroup:
    return session_of(at, client_id).groups["$share/g/t"]


def waiting(at: House) -> list[bytes]:
    """What a client that was stalled gets once it reads again, all at QoS 1 acknowledged."""
    client = session_of(at).connection
    assert client is not None
    reader = client.transport
    assert isinstance(reader, Client)
    reader.take(PublishPacket)
    reader.reads = True
    at.core.passed_on(client, 0, at.now)
    at.settle()
    return [packet.payload[:4].rstrip(b".") for packet in reader.take(PublishPacket)]


def stalled(at: House) -> Client:
    """A client whose write buffer is full with one message that it does not read."""
    client = at.resume("c1")
    client.subscribe("t", qos=1)
    client.reads = False
    at.connect("c8").publish("t", b"." * at.limits.write_buffer_bytes)
    return client


@both_policies
def test_qos_0_is_given_up_before_anything_else(policy: QueueFull) -> None:
    at = house(4, queue_full=policy, write_buffer_bytes=1_000)
    stalled(at)
    writer = at.connect("c2")
    for number, qos in enumerate((0, 1, 0, 1, 1, 1)):
        writer.publish("t", b"%d" % number, qos=qos)
    # At QoS 0 nothing displaces another message.
    writer.publish("t", b"6", qos=0)
    assert at.core.counters.dropped_queue_full == 3
    assert session_of(at).queued == 4
    writer.publish("t", b"7", qos=1)
    expected = [b"1", b"3", b"4", b"5"] if policy is QueueFull.DROP_NEWEST else [3, 4, 5, 7]
    assert waiting(at) == [b"%d" % each if isinstance(each, int) else each for each in expected]
    assert session_of(at).given_up == session_of(at).queued == 0
    assert session_of(at).held_bytes == sum(
        outgoing.message.size for outgoing in session_of(at).unacknowledged.values()
    )


def test_what_was_given_up_costs_nothing_and_is_gone_with_the_connection() -> None:
    at = house(3, write_buffer_bytes=1_000)
    client = stalled(at)
    writer = at.connect("c2")
    for number, qos in enumerate((1, 0, 0, 1, 1)):
        writer.publish("t", b"%d" % number, qos=qos)
    session = session_of(at)
    assert (session.queued, session.given_up) == (3, 2)
    assert session.held_bytes == 3 * (OVERHEAD_BYTES + 2)
    client.drop()
    assert (session.queued, session.given_up, len(session.queue)) == (3, 0, 3)
    assert at.resume("c1").payloads() == [b"0", b"3", b"4"]


@both_policies
def test_nothing_goes_for_a_message_that_would_not_fit_even_so(policy: QueueFull) -> None:
    at = house(100, 50_000, queue_full=policy)
    at.resume("c1").subscribe("t")
    writer = at.connect("c2")
    at.resume("c1").drop()
    for _ in range(20):
        writer.publish("t", b"small", qos=1)
    writer.publish("t", b"x" * 60_000, qos=1)
    assert session_of(at).queued == 20
    assert at.core.counters.dropped_queue_full == 1


def test_what_is_unacknowledged_may_leave_too_little_for_the_newest() -> None:
    at = house(100, 10_000, queue_full=QueueFull.DROP_OLDEST)
    client = at.resume("c1", receive_max=1)
    client.subscribe("t")
    writer = at.connect("c2")
    writer.publish("t", b"x" * 8_000, qos=1)
    writer.publish("t", b"small", qos=1)
    writer.publish("t", b"y" * 5_000, qos=1)
    assert session_of(at).queued == 1
    client.acknowledge(client.take(PublishPacket)[0])
    assert client.payloads() == [b"small"]


def test_a_queue_that_is_exactly_full_is_sent() -> None:
    at = house(1_000, 10 * (OVERHEAD_BYTES + 101))
    at.resume("c1").subscribe("t")
    at.resume("c1").drop()
    writer = at.connect("c2")
    for number in range(12):
        writer.publish("t", b"%100d" % number, qos=1)
    assert session_of(at).held_bytes == session_of(at).limits.bytes
    assert len(at.resume("c1").payloads()) == 10


def test_what_a_session_holds_is_sent_though_its_limits_are_lower_by_now() -> None:
    at = house(1_000, 50_000)
    at.resume("c1").subscribe("t")
    at.resume("c1").drop()
    writer = at.connect("c2")
    for number in range(40):
        writer.publish("t", b"%d" % number, qos=1)
    lower = QueueLimits(messages=10, bytes=5_000)
    at.core.change_limits(replace(at.limits, service_queue=lower))
    client = at.resume("c1")
    got = client.take(PublishPacket)
    assert len(got) == 40
    writer.publish("t", b"one too many", qos=1)
    assert at.core.counters.dropped_queue_full == 1
    for packet in got:
        client.acknowledge(packet)
    writer.publish("t", b"one more", qos=1)
    assert client.payloads() == [b"one more"]


@pytest.mark.parametrize("is_sent", [False, True])
def test_what_takes_more_room_after_a_restart_is_sent(is_sent: bool, tmp_path: Path) -> None:
    topic = "t/" + "y" * 400
    limits = QueueLimits(messages=1_000, bytes=20_000)
    at = House(store=tmp_path / "store.db", service_queue=limits)
    client = at.resume("c1")
    client.subscribe("t/#")
    if not is_sent:
        client.drop()
    writer = at.connect("c2")
    for number in range(19):
        writer.publish(topic, b"%d" % number, qos=1)
    assert session_of(at).held_bytes < limits.bytes
    at.crash()
    assert session_of(at).held_bytes > limits.bytes
    assert len(at.resume("c1").payloads()) == 19


@both_policies
def test_a_group_gives_up_qos_0_first_and_keeps_its_bound_in_bytes(policy: QueueFull) -> None:
    at = house(4, queue_full=policy, write_buffer_bytes=1_000)
    client = at.resume("c1", receive_max=1)
    client.subscribe("$share/g/t")
    client.reads = False
    writer = at.connect("c2")
    writer.publish("t", b"." * 1_000, qos=1)
    for number, qos in enumerate((0, 1, 0, 1, 1, 1)):
        writer.publish("t", b"%d" % number, qos=qos)
    group = group_of(at, "c1")
    assert ([message.payload for message in group.queue], len(group.queue_0)) == (
        [b"1", b"3", b"4", b"5"],
        0,
    )
    at.core.change_limits(replace(at.limits, service_queue=QueueLimits(messages=100, bytes=5_000)))
    assert group.bound.bytes == 5_000
    writer.publish("t", b"large" * 500, qos=1)
    assert group.queued_bytes <= group.bound.bytes
    newest = [message.payload for message in group.queue][-1]
    assert (newest == b"large" * 500) is (policy is QueueFull.DROP_OLDEST)
    writer.publish("t", b"x" * 6_000, qos=1)
    assert group.queue[-1].payload == newest


@pytest.mark.parametrize("leaves", ["unsubscribe", "end"])
def test_a_group_whose_last_lasting_member_leaves_is_not_stored_any_more(
    leaves: str, tmp_path: Path
) -> None:
    at = House(store=tmp_path / "store.db")
    lasting = at.resume("c1", receive_max=1)
    lasting.subscribe("$share/g/t")
    passing = at.connect("c2", receive_max=1)
    passing.subscribe("$share/g/t")
    writer = at.connect("c3")
    for number in range(4):
        writer.publish("t", b"%d" % number, qos=1)
    if leaves == "unsubscribe":
        lasting.send(UnsubscribePacket(9, ["$share/g/t"]))
    else:
        at.connect("c1").drop()
    assert not any(group_of(at, "c2").rows)
    got = []
    while found := passing.take(PublishPacket):
        got += [packet.payload for packet in found]
        for packet in found:
            passing.acknowledge(packet)
    assert {b"2", b"3"} <= set(got)
    at.crash()
    assert at.store is not None
    assert [*at.store.load().waiting] == []


def test_what_waited_for_members_that_did_not_last_does_not_keep_a_broker_from_starting(
    tmp_path: Path,
) -> None:
    at = House(store=tmp_path / "store.db")
    at.resume("c1", receive_max=1).subscribe("$share/g/t")
    writer = at.connect("c2")
    for number in range(3):
        writer.publish("t", b"%d" % number, qos=1)
    assert at.store is not None
    # As an earlier program left it: the subscription is gone, and what waited is not.
    at.store._database.execute("DELETE FROM subscription")
    at.store._database.commit()
    at.crash()
    at.resume("c1").drop()
    at.crash()
    assert [*at.store.load().waiting] == []


def test_a_qos_2_message_that_ends_with_its_session_is_counted() -> None:
    at = House()
    client = at.connect("c1")
    client.subscribe("t", qos=2)
    writer = at.connect("c2")
    writer.publish("t", b"1", qos=2)
    writer.publish("t", b"2", qos=1)
    client.drop()
    assert at.core.counters.dropped_session_ended == 2
