"""Where as much waits as may, clients of 3.1.1 wait too, and none for its own acknowledgement."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt5 import (
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    Will,
)

from broker.core import stalling
from broker.core.limits import Limits
from mqtt.codec import encode
from tests.broker.core.harness import V311, Client, House

BIG = b"." * 3_000
"""With the 600 bytes beside it that each counts for, two of these are more than 6,000."""


@pytest.fixture
def house() -> House:
    return House(queued_bytes=6_000)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalling, "HELD_BACK_BYTES", 3_000)


def owed(house: House, name: str = "c1", **options: bool) -> tuple[Client, list[PublishPacket]]:
    """A client of 3.1.1 that has to acknowledge all that may wait."""
    client = house.resume(name, V311, **options)
    client.subscribe("a")
    publisher = house.connect("c9")
    for number in range(2):
        publisher.publish("a", b"%d" % number + BIG, qos=1)
    got = client.take(PublishPacket)
    assert len(got) == 2
    assert house.core.budget.is_full
    return client, got


def acknowledge(client: Client, packets: list[PublishPacket]) -> None:
    for packet in packets:
        client.acknowledge(packet)


def test_who_publishes_before_it_acknowledges_is_still_heard(house: House) -> None:
    client, got = owed(house)
    client.publish("b", b"own", qos=1)
    assert client.reading
    assert client.take(PubAckPacket) == []
    acknowledge(client, got)
    assert len(client.take(PubAckPacket)) == 1
    assert not house.core.budget.is_full
    assert house.core.budget.held_back_bytes == 0


def test_all_else_that_it_sends_is_handled(house: House) -> None:
    client, _ = owed(house)
    client.publish("b", qos=1)
    client.send(PingReqPacket())
    client.one(PingRespPacket)
    assert client.subscribe("c") == [1]
    assert client.take(PubAckPacket) == []


def test_what_it_published_is_taken_in_its_order(house: House) -> None:
    client, got = owed(house)
    watcher = house.connect("c2")
    watcher.subscribe("b")
    for number, qos in enumerate([1, 0, 2, 1]):
        client.publish("b", b"%d" % number, qos=qos)
    assert watcher.payloads() == []
    acknowledge(client, got)
    assert watcher.payloads() == [b"0", b"1", b"2", b"3"]


@pytest.mark.usefixtures("little")
def test_what_it_sends_beyond_a_bound_costs_nothing_and_is_sent_again(house: House) -> None:
    client, got = owed(house)
    watcher = house.connect("c2")
    watcher.subscribe("b", qos=0)
    for number in range(1_000):
        client.publish("b", b"%d" % number, qos=1, packet_id=number + 1)
    assert house.core.budget.held_back_bytes <= 3_000
    assert client.reading
    acknowledge(client, got)
    answered = client.take(PubAckPacket)
    assert 0 < len(answered) < 10
    assert watcher.payloads() == [b"%d" % number for number in range(len(answered))]
    assert client.closed is not None
    assert "what was not acknowledged is for it to send again" in house.notices[-1]
    assert house.core.budget.held_back_bytes == 0
    client = house.resume("c1", V311)
    acknowledge(client, client.take(PublishPacket))
    client.publish("b", b"again", qos=1)
    assert len(client.take(PubAckPacket)) == 1


@pytest.mark.usefixtures("little")
def test_a_large_message_is_held_back_whole(house: House) -> None:
    client, got = owed(house)
    client.publish("b", b"." * 100_000, qos=1)
    acknowledge(client, got)
    assert len(client.take(PubAckPacket)) == 1
    assert client.closed is None


def test_who_is_sent_nothing_is_not_read_from_until_it_is(house: House) -> None:
    first, second = (house.resume(name, V311) for name in ("c1", "c2"))
    second.subscribe("$share/g/a")
    first.subscribe("$share/g/a")
    publisher = house.connect("c9")
    second.drop()
    for _ in range(2):
        publisher.publish("a", BIG, qos=1)
    got = first.take(PublishPacket)
    assert len(got) == 2
    second = house.resume("c2", V311)
    second.publish("b", qos=1)
    assert second.reading is False
    # What the one leaves behind goes to the other, who is not read from.
    house.connect("c1", V311).drop()
    handed_on = second.take(PublishPacket)
    assert len(handed_on) == 2
    house.wait(1)
    assert second.reading
    acknowledge(second, handed_on)
    assert len(second.take(PubAckPacket)) == 1


def test_a_release_is_answered_unless_its_message_is_held_back(house: House) -> None:
    client = house.resume("c1", V311)
    client.publish("b", b"0", qos=2, packet_id=1)
    client.one(PubRecPacket)
    client, got = owed(house)
    client.publish("b", b"1", qos=2, packet_id=2)
    client.send(PubRelPacket(2))
    client.send(PubRelPacket(1))
    assert client.one(PubCompPacket).packet_id == 1
    acknowledge(client, got)
    assert client.one(PubRecPacket).packet_id == 2
    assert client.one(PubCompPacket).packet_id == 2


def test_who_leaves_without_waiting_may_yet_be_heard(house: House) -> None:
    owing, got = owed(house)
    watcher = house.connect("c2")
    watcher.subscribe("b", "will")
    client = house.connect("c3", V311, will=Will("will", payload=b"gone"))
    last = PublishPacket("b", b"last", qos=QoS(1), packet_id=1)
    client.send_bytes(encode(last, V311) + encode(DisconnectPacket(), V311))
    assert client.closed is None
    acknowledge(owing, got)
    assert watcher.payloads() == [b"last"]
    assert client.closed is not None


def test_who_is_owed_something_leaves_at_once_and_makes_room(house: House) -> None:
    client, _ = owed(house, clean_start=True)
    client.publish("b", qos=1)
    client.send(DisconnectPacket())
    assert client.closed is not None
    assert house.core.budget.held_back_bytes == 0


def test_who_has_left_and_is_owed_something_after_all_leaves_then(house: House) -> None:
    client, got = owed(house)
    acknowledge(client, got)
    client.drop()
    watcher = house.connect("c2")
    watcher.subscribe("will")
    other, _ = owed(house, "c3")
    client = house.resume("c1", V311, will=Will("will", payload=b"gone"))
    got = client.take(PublishPacket)
    acknowledge(client, got)
    assert house.core.budget.is_full
    last = PublishPacket("b", b"last", qos=QoS(1), packet_id=1)
    client.send_bytes(encode(last, V311) + encode(DisconnectPacket(), V311))
    assert client.closed is None
    # A will passes by the limit.
    house.connect("c4", will=Will("a", payload=b"x", qos=QoS(1))).drop()
    house.wait(1)
    assert client.closed is not None
    assert watcher.payloads() == []
    assert other.reading


def test_a_retained_message_may_be_cleared_all_the_same(house: House) -> None:
    owed(house)
    client = house.connect("c2", V311)
    client.publish("b", b"", qos=1, retain=True)
    assert len(client.take(PubAckPacket)) == 1
    assert client.reading


def test_what_is_held_back_does_not_fill_the_memory_that_it_waits_for() -> None:
    house = House()
    client, got = owed_memory(house)
    held_back = []
    for number in range(20):
        each = house.connect(f"c-{number}", V311)
        held_back.append(each)
    house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes))
    for each in held_back:
        each.publish("b", b"." * 20_000, qos=1)
        assert not each.reading
    assert house.core.budget.held_back_bytes > house.core.budget.held_bytes
    acknowledge(client, got)
    assert all(len(each.take(PubAckPacket)) == 1 for each in held_back)
    assert house.core.budget.held_back_bytes == 0


def owed_memory(house: House) -> tuple[Client, list[PublishPacket]]:
    client = house.resume("c1", V311)
    client.subscribe("a")
    publisher = house.connect("c9")
    for _ in range(5):
        publisher.publish("a", b"." * 20_000, qos=1)
    return client, client.take(PublishPacket)


class Peer:
    """A client of 3.1.1 as the specification has it; what the broker does not read waits."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.unsent: list[bytes] = []
        self.ids = count(1)
        self.own: dict[int, tuple[str, bytes, int]] = {}
        self.released: set[int] = set()
        self.received: list[bytes] = []
        self.begun: set[int] = set()
        self.unacknowledged: list[Packet] = []
        self.client = house.resume(name, V311)
        self.client.subscribe("t/#", qos=2)

    def connect(self) -> None:
        """Its own messages first, as [MQTT-4.4.0-1] has it; then what it gets and answers."""
        if self.client.closed is None:
            self.client.drop()
        self.go_on()
        self.unsent.clear()
        self.unacknowledged.clear()
        self.client = self.house.resume(self.name, V311)
        for packet_id in list(self.own):
            self.send_own(packet_id, again=True)

    def publish(self, payload: bytes, qos: int) -> None:
        packet_id = next(self.ids)
        self.own[packet_id] = (f"t/{self.name}", payload, qos)
        self.send_own(packet_id)

    def send_own(self, packet_id: int, *, again: bool = False) -> None:
        topic, payload, qos = self.own[packet_id]
        if packet_id in self.released:
            self.send(PubRelPacket(packet_id))
        else:
            packet = PublishPacket(
                topic, payload, qos=QoS(qos), packet_id=packet_id, duplicate=again
            )
            self.send(packet)

    def send(self, packet: Packet) -> None:
        self.unsent.append(encode(packet, V311))
        self.go_on()

    def go_on(self) -> None:
        while self.unsent and self.client.reading and self.client.closed is None:
            self.client.send_bytes(self.unsent.pop(0))
        inbox, self.client.inbox = self.client.inbox, []
        for packet in inbox:
            self.take(packet)

    def take(self, packet: Packet) -> None:
        if isinstance(packet, PubAckPacket | PubCompPacket):
            self.own.pop(packet.packet_id, None)
            self.released.discard(packet.packet_id)
        elif isinstance(packet, PubRecPacket):
            self.released.add(packet.packet_id)
            self.send(PubRelPacket(packet.packet_id))
        elif isinstance(packet, PubRelPacket):
            self.begun.discard(packet.packet_id)
            self.send(PubCompPacket(packet.packet_id))
        elif isinstance(packet, PublishPacket):
            assert packet.packet_id is not None
            if packet.packet_id not in self.begun:
                self.received.append(packet.payload)
            if packet.qos == QoS(2):
                self.begun.add(packet.packet_id)
                self.unacknowledged.append(PubRecPacket(packet.packet_id))
            else:
                self.unacknowledged.append(PubAckPacket(packet.packet_id))

    @property
    def is_busy(self) -> bool:
        return bool(self.own or self.unsent or self.unacknowledged or self.client.inbox)

    def acknowledge(self) -> None:
        self.go_on()
        answers, self.unacknowledged = self.unacknowledged, []
        for answer in answers:
            self.send(answer)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["publish", "publish", "publish", "connect", "drop", "acknowledge"]),
        st.sampled_from([1, 2]),
        st.sampled_from([10, 500, 3_000]),
    ),
    max_size=60,
)


@pytest.mark.parametrize("bound", ["queued_bytes", "memory_bytes"])
@given(steps=STEPS)
@settings(deadline=None)
def test_once_all_have_acknowledged_all_that_was_published_has_arrived(
    bound: str, steps: list[tuple[int, str, int, int]]
) -> None:
    house = House()
    peers = [Peer(house, name) for name in ("c0", "c1", "c2")]
    if bound == "queued_bytes":
        house.core.change_limits(Limits(queued_bytes=4_000))
    else:
        house.core.change_limits(Limits(memory_bytes=house.core.budget.used_bytes + 4_000))
    published: Counter[bytes] = Counter()
    exactly: set[bytes] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stalling, "HELD_BACK_BYTES", 3_000)
        for number, (who, step, qos, size) in enumerate(steps):
            peer = peers[who]
            if step == "publish":
                payload = b"%d " % number + b"." * size
                published[payload] = 1
                if qos == 2:
                    exactly.add(payload)
                peer.publish(payload, qos)
            elif step == "connect":
                peer.connect()
            elif step == "drop":
                peer.client.drop()
            else:
                peer.acknowledge()
        for _ in range(100):
            for peer in peers:
                if peer.client.closed is not None:
                    peer.connect()
                peer.acknowledge()
            house.wait(2)
            if not any(peer.is_busy for peer in peers):
                break
    for peer in peers:
        assert not peer.own
        assert set(peer.received) == set(published)
        once = Counter(payload for payload in peer.received if payload in exactly)
        assert once == Counter(exactly)
    assert house.core.budget.held_bytes == house.core.budget.held_back_bytes == 0
