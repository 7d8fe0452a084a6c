"""Random histories of many clients beside a model of the specification (``model``).

The model knows who should get which message next: delivery sets, the lower QoS, retained messages,
wills, order, no second copy at QoS 2, and what a session keeps. The clients answer late, lose their
connections in the middle of exchanges, take each other over, and stay away for hours.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt5 import (
    ConnAckPacket,
    DisconnectPacket,
    Packet,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
    Will,
)

from mqtt import topics
from mqtt.codec import ProtocolVersion, encode
from tests.broker.core.harness import V5, V311, Client, House
from tests.broker.core.model import EXPIRY, Expected, Model, Subscribed

NAMES = ["c0", "c1", "c2"]
TOPICS = ["a", "a/b", "b", "$test/a", "w/c0", "w/c1"]
FILTERS = ["a", "a/#", "+", "#", "a/b", "+/b", "$test/+", "w/+"]


class Device:
    """A client that sees each message once, as section 4.3 has it, and answers when it is told to.

    ``received``: QoS 2 identifiers between PUBLISH and PUBREL; it outlives connections.
    """

    def __init__(self) -> None:
        self.client: Client | None = None
        self.received: set[int] = set()
        self.seen_qos_1: set[bytes] = set()
        self.unanswered: list[Any] = []

    def arrived(self) -> list[PublishPacket]:
        """Messages that came and that the client had not seen."""
        assert self.client is not None
        fresh = []
        for packet in self.client.inbox:
            if not isinstance(packet, PublishPacket):
                self.unanswered.append(packet)
                continue
            qos = int(packet.qos)
            if qos:
                self.unanswered.append(packet)
            if qos == 2:
                assert packet.packet_id is not None
                if packet.packet_id in self.received:
                    assert packet.duplicate, "an identifier in use is another message's"
                    continue
                self.received.add(packet.packet_id)
            elif qos == 1 and packet.duplicate and packet.payload in self.seen_qos_1:
                continue
            if qos == 1:
                self.seen_qos_1.add(packet.payload)
            fresh.append(packet)
        self.client.inbox.clear()
        return fresh

    def answer(self, count: int) -> None:
        """Takes the next step of so many exchanges, oldest first, in one write."""
        assert self.client is not None
        steps, self.unanswered = self.unanswered[:count], self.unanswered[count:]
        answers: list[Packet] = []
        for packet in steps:
            match packet:
                case PublishPacket(packet_id=int(number), qos=qos):
                    answers.append(PubAckPacket(number) if int(qos) == 1 else PubRecPacket(number))
                case PubRelPacket(packet_id=number):
                    self.received.discard(number)
                    answers.append(PubCompPacket(number))
                case PubRecPacket(packet_id=number):
                    answers.append(PubRelPacket(number))
        self.client.send_bytes(b"".join(encode(each, self.client.protocol) for each in answers))


WHO = st.integers(0, len(NAMES) - 1)
CONNECT = st.tuples(
    st.just("connect"),
    WHO,
    st.sampled_from([False, False, False, True]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([1, 2, 50]),
    st.booleans(),
)
SUBSCRIBE = st.tuples(
    st.just("subscribe"),
    WHO,
    st.sampled_from(FILTERS),
    st.sampled_from([2, 1, 0]),
    st.sampled_from([False, False, True]),
    st.booleans(),
    st.sampled_from([None, 1, 200]),
)
PUBLISH = st.tuples(
    st.just("publish"),
    WHO,
    st.sampled_from(TOPICS),
    st.integers(0, 2),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, False, True]),
)
ANSWER = st.tuples(st.just("answer"), WHO, st.integers(1, 9))
# What keeps messages going is there several times: most steps are to be taken by somebody who is
# connected, and to reach somebody.
STEP = st.one_of(
    PUBLISH,
    CONNECT,
    PUBLISH,
    ANSWER,
    SUBSCRIBE,
    PUBLISH,
    st.tuples(st.just("drop"), WHO),
    ANSWER,
    PUBLISH,
    st.one_of(
        st.tuples(st.just("unsubscribe"), WHO, st.sampled_from(FILTERS)),
        st.tuples(st.just("leave"), WHO),
        st.tuples(st.just("wait"), st.sampled_from([10.0, 10.0, 5_000.0])),
    ),
)
# Without a least size they have five steps on average, in which hardly anything is delivered.
STEPS = st.lists(STEP, min_size=30, max_size=80)


class Histories:
    """Does each step to the broker and to the model, and compares what each client sees."""

    def __init__(self) -> None:
        self.house = House(session_expiry_seconds=EXPIRY)
        self.model = Model()
        self.devices = {name: Device() for name in NAMES}
        self.count = 0
        # Everybody is there, and gets something.
        for who, pattern in enumerate(["#", "a/#", "+"]):
            self.connect(who, False, who != 2, True, 50 if who else 2, who == 1)
            self.subscribe(who, pattern, 2, False, False, None)

    def step(self, kind: str, *arguments: Any) -> None:
        getattr(self, kind)(*arguments)
        for name in NAMES:
            self.compare(name)

    def connect(
        self, who: int, clean: bool, is_v5: bool, lasting: bool, window: int, with_will: bool
    ) -> None:
        name = NAMES[who]
        # A clean session of 3.1.1 ends with its connection; one that is not lasts.
        lasting = lasting if is_v5 else not clean
        version: ProtocolVersion = V5 if is_v5 else V311
        options: dict[str, Any] = {"clean_start": clean}
        if is_v5:
            options |= {"session_expiry_interval": EXPIRY if lasting else 0, "receive_max": window}
        self.count += 1
        payload = b"will %d" % self.count
        if with_will:
            topic = f"w/{name}"
            options["will"] = Will(topic, payload=payload, qos=QoS(1), retain=False)
        present = self.model.connect(name, clean=clean, v5=is_v5, lasting=lasting)
        if with_will:
            self.model.sessions[name].will = (f"w/{name}", payload, 1, False)
        device = self.devices[name]
        if not present:
            device.received.clear()
            device.seen_qos_1.clear()
        device.unanswered.clear()
        device.client = self.house.connect(name, version, **options)
        answer = device.client.inbox.pop(0)
        assert isinstance(answer, ConnAckPacket)
        assert answer.session_present is present

    def connected(self, who: int) -> Client | None:
        return self.devices[NAMES[who]].client

    def drop(self, who: int) -> None:
        client = self.connected(who)
        if client is not None:
            self.devices[NAMES[who]].client = None
            self.model.end_connection(NAMES[who], with_will=True)
            client.drop()

    def leave(self, who: int) -> None:
        client = self.connected(who)
        if client is not None:
            self.devices[NAMES[who]].client = None
            self.model.end_connection(NAMES[who], with_will=False)
            client.send(DisconnectPacket())

    def subscribe(
        self,
        who: int,
        pattern: str,
        qos: int,
        no_local: bool,
        as_published: bool,
        identifier: int | None,
    ) -> None:
        client = self.connected(who)
        if client is None:
            return
        name = NAMES[who]
        if not self.model.sessions[name].v5:
            no_local, as_published, identifier = False, False, None
        item = Subscribed(qos, no_local, as_published, identifier)
        # No Local and retained messages of one's own: left to the broker by the specification.
        stored = self.model.subscribe(name, pattern, item)
        options = TopicFilter(
            pattern, max_qos=QoS(qos), no_local=no_local, retain_as_published=as_published
        )
        session = self.model.sessions[name]
        client.send(SubscribePacket(1, [options], subscription_id=identifier))
        client.one(SubAckPacket)
        if no_local:
            stored = [item for item in stored if self.is_sent(name, item)]
        # Retained messages come in any order: the broker's is taken.
        order = self.sent_or_queued(name)[-len(stored) :] if stored else []
        session.next.extend(sorted(stored, key=lambda item: order.index(item.payload)))

    def is_sent(self, name: str, item: Expected) -> bool:
        """Whether the broker sends a retained message that may be the client's own."""
        return self.owners.get(item.payload) != name

    def sent_or_queued(self, name: str) -> list[bytes]:
        """Payloads that a connected client has not looked at, in the broker's order."""
        session, client = self.house.core.sessions.get(name), self.devices[name].client
        assert session is not None
        assert client is not None
        sent = [packet.payload for packet in client.inbox if isinstance(packet, PublishPacket)]
        return sent + [outgoing.message.payload for outgoing in session.queue]

    @property
    def owners(self) -> dict[bytes, str]:
        retained = self.house.core.retained
        every = (topics.TopicFilter("#"), topics.TopicFilter("$test/#"))
        found = [message for each in every for message in retained.walk(each)]
        return {message.payload: message.publisher for message in found}

    def unsubscribe(self, who: int, pattern: str) -> None:
        client = self.connected(who)
        if client is not None:
            self.model.sessions[NAMES[who]].subscriptions.pop(pattern, None)
            client.send(UnsubscribePacket(1, [pattern]))

    def publish(
        self, who: int, topic: str, qos: int, retain: bool = False, empty: bool = False
    ) -> None:
        client = self.connected(who)
        if client is None:
            return
        self.count += 1
        payload = b"" if retain and empty else b"%d" % self.count
        self.model.publish(NAMES[who], topic, payload, qos, retain)
        number = next(self.house.ids) if qos else None
        client.publish(topic, payload, qos=qos, retain=retain, packet_id=number)
        if qos == 2 and self.count % 3 == 0:
            # As a client does that lost its connection: it is the same message.
            client.publish(topic, payload, qos=qos, retain=retain, packet_id=number, duplicate=True)

    def answer(self, who: int, count: int) -> None:
        if self.connected(who) is not None:
            self.devices[NAMES[who]].answer(count)

    def wait(self, seconds: float) -> None:
        self.model.wait(seconds)
        self.house.wait(seconds)

    def compare(self, name: str) -> None:
        device = self.devices[name]
        if device.client is not None and device.client.closed is not None:
            raise AssertionError(f"{name} was closed: {device.client.closed}")
        if device.client is None:
            return
        session = self.model.sessions[name]
        for packet in device.arrived():
            got = Expected(
                packet.topic,
                packet.payload,
                int(packet.qos),
                packet.retain,
                tuple(sorted(packet.subscription_ids)),
            )
            assert session.next, f"{name} got {got}, which nobody sent it"
            expected = session.next.popleft()
            if not session.v5:
                expected = Expected(
                    expected.topic, expected.payload, expected.qos, expected.retain, ()
                )
            assert got == expected

    def finish(self) -> None:
        """Everybody answers everything: then nothing is missing."""
        for _ in range(400):
            for who in range(len(NAMES)):
                self.answer(who, 100)
            for name in NAMES:
                self.compare(name)
        for name, device in self.devices.items():
            if device.client is not None:
                assert not self.model.sessions[name].next, f"{name} lacks messages"
        known = {session.client_id for session in self.house.core.sessions}
        assert known == set(self.model.sessions)
        for name, session in self.model.sessions.items():
            kept = self.house.core.sessions.get(name)
            assert kept is not None
            assert set(kept.subscriptions) == set(session.subscriptions)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_broker_does_what_the_model_says(steps: list[tuple[Any, ...]]) -> None:
    histories = Histories()
    for kind, *arguments in steps:
        histories.step(kind, *arguments)
    histories.finish()


@pytest.mark.parametrize("seed", range(60))
def test_the_broker_does_what_the_model_says_for_long(seed: int) -> None:
    """By seeds: Hypothesis makes steps that are mostly alike, and hardly anything happens."""
    dice = random.Random(seed)  # no secret
    histories = Histories()
    for _ in range(200):
        who = dice.randrange(len(NAMES))
        kind = dice.choices(
            ["publish", "answer", "connect", "drop", "subscribe", "unsubscribe", "leave", "wait"],
            [40, 25, 10, 6, 8, 3, 2, 2],
        )[0]
        rare = dice.random() < 0.2
        arguments: dict[str, tuple[Any, ...]] = {
            "publish": (dice.choice(TOPICS), dice.randrange(3), rare, dice.random() < 0.3),
            "answer": (dice.randint(1, 9),),
            "connect": (rare, dice.random() < 0.5, not rare, dice.choice([1, 2, 50]), rare),
            "subscribe": (
                dice.choice(FILTERS),
                dice.randrange(3),
                rare,
                dice.random() < 0.5,
                dice.choice([None, 1, 200]),
            ),
            "unsubscribe": (dice.choice(FILTERS),),
        }
        if kind == "wait":
            histories.step(kind, dice.choice([10.0, 10.0, 5_000.0]))
        else:
            histories.step(kind, who, *arguments.get(kind, ()))
    histories.finish()
