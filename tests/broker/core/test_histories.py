"""Random histories of several clients: nothing raises and the books balance after every step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt5 import (
    DisconnectPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
)

from broker.core.broker import Broker
from broker.core.memory import retained_bytes, subscription_bytes
from broker.core.message import Message
from broker.core.session import GIVEN_UP, Outgoing, Session
from mqtt import topics
from mqtt.codec import ProtocolVersion
from tests.broker.core.harness import V5, V311, Client, House

NAMES = ["c0", "c1", "c2"]
TOPICS = ["a", "a/b", "b"]
FILTERS = ["a", "a/#", "+", "#", "$share/g/a/#", "$share/h/#"]

WHO = st.integers(0, len(NAMES) - 1)
STEP = st.one_of(
    st.tuples(st.just("resume"), WHO, st.booleans(), st.sampled_from([1, 3, 100])),
    st.tuples(st.just("clean"), WHO),
    st.tuples(st.just("drop"), WHO),
    st.tuples(st.just("leave"), WHO),
    st.tuples(st.just("subscribe"), WHO, st.sampled_from(FILTERS), st.integers(0, 2)),
    st.tuples(st.just("unsubscribe"), WHO, st.sampled_from(FILTERS)),
    st.tuples(st.just("publish"), WHO, st.sampled_from(TOPICS), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("answer"), WHO),
    st.tuples(st.just("stall"), WHO),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 5_000.0])),
)
# Without a least size they have five steps on average, in which hardly anything is delivered.
STEPS = st.lists(STEP, min_size=20, max_size=60)


class History:
    """Clients that answer what they are sent only when told to."""

    def __init__(self, store: Path | None = None) -> None:
        self.house = House(store=store, write_buffer_bytes=2_000)
        self.clients: dict[int, Client] = {}
        self.sent = 0

    def step(self, kind: str, *arguments: object) -> None:
        getattr(self, kind)(*arguments)
        self.check()

    def resume(self, who: int, is_v5: bool, window: int) -> None:
        protocol: ProtocolVersion = V5 if is_v5 else V311
        options = {"receive_max": window} if is_v5 else {}
        self.clients[who] = self.house.resume(NAMES[who], protocol, **options)

    def clean(self, who: int) -> None:
        self.clients[who] = self.house.connect(NAMES[who])

    def drop(self, who: int) -> None:
        client = self.clients.pop(who, None)
        if client is not None:
            client.drop()

    def leave(self, who: int) -> None:
        client = self.clients.pop(who, None)
        if client is not None:
            client.send(DisconnectPacket())

    def subscribe(self, who: int, pattern: str, qos: int) -> None:
        if who in self.clients:
            options = TopicFilter(pattern, max_qos=QoS(qos), retain_as_published=False)
            self.clients[who].send(SubscribePacket(1, [options]))

    def unsubscribe(self, who: int, pattern: str) -> None:
        if who in self.clients:
            self.clients[who].send(UnsubscribePacket(1, [pattern]))

    def publish(self, who: int, topic: str, qos: int, retain: bool) -> None:
        if who in self.clients:
            self.sent += 1
            payload = b"%d " % self.sent + b"x" * 300
            self.clients[who].publish(topic, payload, qos=qos, retain=retain)

    def stall(self, who: int) -> None:
        if who in self.clients:
            self.clients[who].reads = False

    def answer(self, who: int) -> None:
        """Reads again and finishes every exchange that is under way."""
        client = self.clients.get(who)
        if client is None:
            return
        client.reads = True
        self.house.core.passed_on(client.connection, 0, self.house.now)
        self.house.settle()
        while client.inbox:
            packet = client.inbox.pop(0)
            match packet:
                case PublishPacket(packet_id=int(number), qos=qos):
                    client.send(PubAckPacket(number) if int(qos) == 1 else PubRecPacket(number))
                case PubRecPacket(packet_id=number):
                    client.send(PubRelPacket(number))
                case PubRelPacket(packet_id=number):
                    client.send(PubCompPacket(number))

    def wait(self, seconds: float) -> None:
        self.house.wait(seconds)

    def crash(self) -> None:
        self.clients.clear()
        self.house.crash()

    def check(self) -> None:
        assert self.house.core.budget.other_bytes == other_bytes(self.house.core)
        for client in self.clients.values():
            taken_over = client.connection.session is None
            assert taken_over == (client.closed is not None)
        for session in self.house.core.sessions:
            held = [*session.unacknowledged.values(), *session.resend.values(), *session.queue]
            given_up = [outgoing for outgoing in held if outgoing.message is GIVEN_UP]
            assert session.given_up == len(given_up)
            held = [outgoing for outgoing in held if outgoing.message is not GIVEN_UP]
            assert [out for out in session.queue if out in held and not out.qos] == [
                *session.queue_0
            ]
            assert not session.queue or session.queue[0].message is not GIVEN_UP
            assert session.held_bytes == sum(outgoing.message.size for outgoing in held)
            assert len(session.unacknowledged) + len(session.released) <= session.window
            identifiers = [*session.unacknowledged, *session.resend, *session.released]
            assert len(identifiers) == len(set(identifiers))
            for group in session.groups.values():
                assert session in group.members
                here = [member.session for member in group.present]
                assert here == [s for s in here if s.connection is not None]
                assert len(here) == sum(s.connection is not None for s in group.members)
                waiting = [*group.queue, *group.queue_0]
                assert group.queued_bytes == sum(message.size for message in waiting)
                limit = self.house.core.limits.write_buffer_bytes
                if group.queue:
                    assert group.next_with_room(limit, at_qos_0=False) is None
                if group.queue_0:
                    assert group.next_with_room(limit, at_qos_0=True) is None
            if session.connection is None:
                assert not session.unacknowledged
                assert all(outgoing.qos for outgoing in session.queue)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_books_balance_after_every_step(steps: list[tuple[str, object]]) -> None:
    history = History()
    for kind, *arguments in steps:
        history.step(kind, *arguments)
    for who in range(len(NAMES)):
        history.answer(who)
    history.check()
    for client in history.clients.values():
        session = client.connection.session
        if session is not None:
            # Everybody read and answered everything, so nothing is left for those who are here.
            assert not session.queued
            assert not session.resend
            assert not session.unacknowledged
            assert not session.released


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(FILTERS), st.integers(1, 2)), min_size=3, max_size=3),
    st.lists(st.one_of(STEP, st.tuples(st.just("crash"))), min_size=20, max_size=60),
)
def test_the_store_holds_at_every_moment_what_a_crash_would_need(
    filters: list[tuple[str, int]], steps: list[tuple[str, object]]
) -> None:
    with TemporaryDirectory() as folder:
        history = History(Path(folder) / "store.db")
        house = history.house
        assert house.store is not None
        try:
            for who, (pattern, qos) in enumerate(filters):
                history.resume(who, who < 2, 3)
                history.subscribe(who, pattern, qos)
            for kind, *arguments in steps:
                history.step(kind, *arguments)
                restored = House()
                restored.core.restore(house.store.load(), house.now, principals={})
                assert durable_state(restored.core) == durable_state(house.core)
                rows = len(list(house.store.load().messages))
                assert rows == len(messages_held(house.core)), "a message in use, and no other"
                assert house.core.budget.held_bytes == bytes_waiting(house.core)
                assert restored.core.budget.held_bytes <= house.core.budget.held_bytes
        finally:
            house.store.close()


def durable_state(core: Broker) -> object:
    """What must be the same after a crash: sessions that last, what they hold, share groups."""
    sessions = {}
    groups = {}
    for session in core.sessions:
        # One that was asked to end with its connection ends with the crash.
        if session.expiry_seconds == 0:
            continue
        sent = session.unacknowledged | session.resend
        sessions[session.client_id] = (
            session.owner,
            session.expiry_seconds,
            {
                text: (item.qos, item.no_local, item.retain_as_published, item.identifier)
                for text, item in session.subscriptions.items()
            },
            sorted((number, told(outgoing)) for number, outgoing in sent.items()),
            [told(outgoing) for outgoing in session.queue if outgoing.qos],
            list(session.released),
            session.received,
        )
        for text, group in session.groups.items():
            groups[text] = [message.payload for message in group.queue if message.qos]
    retained = [
        (message.topic, message.payload, message.qos)
        for message in core.retained.walk(topics.TopicFilter("#"))
    ]
    return sessions, groups, sorted(retained)


def told(outgoing: Outgoing) -> tuple[object, ...]:
    message = outgoing.message
    ids = outgoing.subscription_ids
    return message.topic, message.payload, outgoing.qos, outgoing.retain, ids


def messages_held(core: Broker) -> set[int]:
    held = {message.row for message in core.retained.walk(topics.TopicFilter("#"))}
    for session in core.sessions:
        waiting = [*session.unacknowledged.values(), *session.resend.values(), *session.queue]
        held |= {outgoing.message.row for outgoing in waiting if outgoing.row}
        for group in session.groups.values():
            held |= {
                message.row for message, row in zip(group.queue, group.rows, strict=True) if row
            }
    return held


def other_bytes(core: Broker) -> int:
    """What the budget should count beside the messages that wait."""
    size = sum(item.charged_bytes + item.charged_buffers for item in core.connections)
    size += sum(400 * len(item.permitted) for item in core.connections)
    for session in core.sessions:
        size += 2_200 + 4 * len(session.client_id) + 100 * len(session.received)
        size += sum(map(subscription_bytes, session.subscriptions | session.asleep))
    for message in core.retained.walk(topics.TopicFilter("#")):
        size += retained_bytes(message)
    holders = [out.message for session in core.sessions for out in waiting_for(session)]
    for group in {group for session in core.sessions for group in session.groups.values()}:
        holders += [*group.queue, *group.queue_0]
    return size + 120 * (len(holders) - len(set(holders)))


def waiting_for(session: Session) -> list[Outgoing]:
    held = [*session.unacknowledged.values(), *session.resend.values(), *session.queue]
    return [outgoing for outgoing in held if outgoing.message is not GIVEN_UP]


def bytes_waiting(core: Broker) -> int:
    waiting: set[Message] = set()
    for session in core.sessions:
        waiting |= {out.message for out in waiting_for(session)}
        for group in session.groups.values():
            waiting |= {*group.queue, *group.queue_0}
    return sum(message.size for message in waiting)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from([V311, V5]))
def test_any_bytes_end_in_an_answer_or_a_closed_connection(
    chunks: list[bytes], protocol: ProtocolVersion
) -> None:
    house = House(maximum_packet_bytes=1_000)
    client = house.connect("c1", protocol)
    for chunk in chunks:
        client.send_bytes(chunk)
    assert client.closed is not None or client.connection.decoder.buffered_bytes <= 1_000
    bystander = house.connect("c2", protocol)
    bystander.subscribe("a")
    bystander.publish("a", b"alive")
    assert bystander.payloads() == [b"alive"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_accepted_can_be_delivered_whatever_its_properties(data: st.DataObject) -> None:
    """Flips bytes of a valid PUBLISH with every property: what passes the checks is passed on."""
    packet = PublishPacket(
        "a/b",
        b"payload",
        qos=QoS.AT_LEAST_ONCE,
        packet_id=1,
        payload_format_indicator=1,
        message_expiry_interval=10,
        content_type="t",
        response_topic="r",
        correlation_data=b"c",
        topic_alias=1,
        user_properties=[("k", "v")],
    ).write()
    raw = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(2, len(raw) - 1))
        raw[index] = data.draw(st.integers(0, 255))
    house = House()
    for number, protocol in enumerate((V311, V5)):
        house.connect(f"c{number}", protocol).subscribe("#", "$test/#", identifier=None)
    publisher = house.connect("c9")
    publisher.send_bytes(bytes(raw))
    accepted = [int(answer.reason_code) for answer in publisher.take(PubAckPacket)]
    assert accepted in ([0], [0x10], []) or accepted[0] >= 0x80
