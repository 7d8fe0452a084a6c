from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mqtt5 import (
    DisconnectPacket,
    DisconnectReasonCode,
    PubAckPacket,
    PubAckReasonCode,
    PublishPacket,
    QoS,
)

from mqtt.client import Message, Publication, Publisher
from mqtt.errors import ConnectionLost, ConnectionRefused
from tests.harness.waiting import wait_until
from tests.mqtt.client.conftest import Connect
from tests.mqtt.client.scripted_broker import V311, Peer, ScriptedBroker


def messages(*payloads: bytes, **fields: Any) -> list[Message]:
    return [Message(topic="t", payload=payload, **fields) for payload in payloads]


def numbered(count: int) -> list[Message]:
    return messages(*(b"%d" % number for number in range(count)))


class Calling:
    """A call in a thread of its own, so that the test can play the broker meanwhile."""

    def __init__(self, call: Callable[[], list[int]]) -> None:
        self._outcome: list[list[int] | Exception] = []
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except Exception as error:  # noqa: BLE001  # handed to the test
            self._outcome.append(error)

    def result(self) -> list[int]:
        self._thread.join(10)
        assert self._outcome, "the call has not returned"
        outcome = self._outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def publishing(publisher: Publisher, batch: list[Message], *, seconds: float = 10) -> Calling:
    return Calling(lambda: publisher.publish(batch, timeout_seconds=seconds))


def added(publication: Publication, batch: list[Message]) -> Publication:
    publication.add(batch)
    return publication


def take(peer: Peer, count: int) -> list[PublishPacket]:
    return [peer.expect(PublishPacket) for _ in range(count)]


def identifier(packet: PublishPacket) -> int:
    assert packet.packet_id is not None
    return packet.packet_id


def acknowledge(peer: Peer, packets: list[PublishPacket], **fields: Any) -> None:
    peer.send(*(PubAckPacket(identifier(packet), **fields) for packet in packets))


def test_each_message_gets_the_reason_code_of_its_puback(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    call = publishing(publish(scripted.settings()), numbered(3))
    peer, connect = scripted.welcome()
    assert connect.clean_start
    assert connect.session_expiry_interval == 0
    first, second, third = take(peer, 3)
    assert {packet.qos == QoS.AT_LEAST_ONCE for packet in (first, second, third)} == {True}
    # In another order than they were sent.
    acknowledge(peer, [third], reason_code=PubAckReasonCode.NOT_AUTHORIZED)
    acknowledge(peer, [first])
    acknowledge(peer, [second], reason_code=PubAckReasonCode.NO_MATCHING_SUBSCRIBERS)
    assert call.result() == [0x00, 0x10, 0x87]


def test_no_more_is_in_flight_than_the_broker_allows(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    call = publishing(publish(scripted.settings()), numbered(5))
    peer, _ = scripted.welcome(receive_max=2)
    for expected in (2, 2, 1):
        packets = take(peer, expected)
        assert peer.silent(seconds=0.1)
        acknowledge(peer, packets)
    assert call.result() == [0] * 5


def test_no_more_is_in_flight_than_was_asked_for(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    call = publishing(publish(scripted.settings(), maximum_in_flight=3), numbered(4))
    peer, _ = scripted.welcome()
    packets = take(peer, 3)
    assert peer.silent(seconds=0.1)
    acknowledge(peer, packets)
    acknowledge(peer, take(peer, 1))
    assert call.result() == [0] * 4


def test_what_was_not_acknowledged_is_published_again_in_its_order(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings())
    call = publishing(publisher, numbered(4))
    peer, _ = scripted.welcome()
    packets = take(peer, 4)
    acknowledge(peer, packets[1:2])
    wait_until(lambda: len(publisher._in_flight) == 3, seconds=5, what="a PUBACK taken")
    peer.close()
    # This connection allows fewer, so the third waits for an answer.
    peer, _ = scripted.welcome(receive_max=2)
    again = take(peer, 2)
    assert [packet.payload for packet in again] == [b"0", b"2"]
    assert peer.silent(seconds=0.1)
    acknowledge(peer, again)
    (last,) = take(peer, 1)
    assert last.payload == b"3"
    acknowledge(peer, [last])
    assert call.result() == [0] * 4
    assert publisher.counters["republished"] == 3


def test_what_waits_for_the_broker_is_sent_when_it_comes(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings())
    scripted.accept().close()
    call = publishing(publisher, numbered(1))
    peer, _ = scripted.welcome()
    acknowledge(peer, take(peer, 1))
    assert call.result() == [0]


def test_a_message_without_answer_is_an_error_with_a_count(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    call = publishing(publish(scripted.settings()), numbered(3), seconds=0.3)
    peer, _ = scripted.welcome()
    acknowledge(peer, take(peer, 3)[:1])
    with pytest.raises(ConnectionLost, match="2 of 3 messages were not acknowledged in time"):
        call.result()


def test_a_late_puback_settles_no_other_message(scripted: ScriptedBroker, publish: Connect) -> None:
    publisher = publish(scripted.settings())
    call = publishing(publisher, numbered(1), seconds=0.1)
    peer, _ = scripted.welcome()
    (late,) = take(peer, 1)
    with pytest.raises(ConnectionLost):
        call.result()
    # The packet identifiers go round to the one that is still unanswered.
    publisher._last_id = identifier(late) - 1 or 65_535
    call = publishing(publisher, messages(b"new"))
    wait_until(lambda: len(publisher._in_flight) >= 1, seconds=5, what="a message in flight")
    try:
        acknowledge(peer, [late])
        (new,) = take(peer, 1)
        acknowledge(peer, [new])
    except (EOFError, OSError):
        peer, _ = scripted.welcome()
        (new,) = take(peer, 1)
        acknowledge(peer, [new])
    assert identifier(new) != identifier(late)
    assert new.payload == b"new"
    assert call.result() == [0]


def test_what_nobody_waits_for_is_not_published_again(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings())
    call = publishing(publisher, messages(b"given up"), seconds=0.1)
    peer, _ = scripted.welcome()
    take(peer, 1)
    with pytest.raises(ConnectionLost):
        call.result()
    # The connection ends, because only that frees the packet identifier.
    with pytest.raises(EOFError):
        peer.next()
    peer, _ = scripted.welcome()
    call = publishing(publisher, messages(b"next"))
    (packet,) = take(peer, 1)
    assert packet.payload == b"next"
    acknowledge(peer, [packet])
    assert call.result() == [0]


TOO_LONG = "x" * 65_536


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Message(topic="a/#", payload=b""), 0x90),
        (Message(topic="a/+/b", payload=b""), 0x90),
        (Message(topic="", payload=b""), 0x90),
        (Message(topic="a\0b", payload=b""), 0x90),
        (Message(topic="\ud800", payload=b""), 0x90),
        (Message(topic=TOO_LONG, payload=b""), 0x90),
        (Message(topic="a", payload=b"", response_topic="b/#"), 0x90),
        (Message(topic="a", payload=b"", content_type="a\0b"), 0x81),
        (Message(topic="a", payload=b"", content_type=TOO_LONG), 0x81),
        (Message(topic="a", payload=b"", user_properties=[("a\0b", "")]), 0x81),
        (Message(topic="a", payload=b"", user_properties=[("a", "\ud800")]), 0x81),
        (Message(topic="a", payload=b"", expiry_seconds=-1), 0x81),
        (Message(topic="a", payload=b"", expiry_seconds=2**32), 0x81),
        (Message(topic="a", payload=bytes(1_000)), 0x95),
        (Message(topic="a", payload=b"", retain=True), 0x9A),
    ],
)
def test_what_a_broker_would_hang_up_on_is_refused_and_its_neighbours_arrive(
    scripted: ScriptedBroker, publish: Connect, message: Message, code: int
) -> None:
    before, after = messages(b"before", b"after")
    publisher = publish(scripted.settings())
    call = publishing(publisher, [before, message, after])
    peer, _ = scripted.welcome(max_packet_size=500, retain_available=False)
    packets = take(peer, 2)
    assert [packet.payload for packet in packets] == [b"before", b"after"]
    acknowledge(peer, packets)
    assert call.result() == [0, code, 0]
    assert publisher.counters["published"] == 2


def test_what_the_next_broker_does_not_take_is_refused_then(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    call = publishing(publish(scripted.settings()), messages(bytes(1_000), b"small"))
    peer, _ = scripted.welcome()
    take(peer, 2)
    peer.close()
    peer, _ = scripted.welcome(max_packet_size=500)
    (packet,) = take(peer, 1)
    assert packet.payload == b"small"
    acknowledge(peer, [packet])
    assert call.result() == [0x95, 0]


def test_a_broker_of_qos_0_only_is_refused(scripted: ScriptedBroker, publish: Connect) -> None:
    publisher = publish(scripted.settings())
    scripted.welcome(max_qos=QoS.AT_MOST_ONCE)
    with pytest.raises(ConnectionRefused, match="takes QoS 0 only"):
        publisher.wait_ready(5)


def test_properties_travel_on_5_and_are_left_out_on_3_1_1(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    fields: dict[str, Any] = {
        "expiry_seconds": 9,
        "content_type": "text/plain",
        "response_topic": "r",
        "correlation_data": b"c",
        "user_properties": [("command-id", "1")],
    }
    for settings, expected in (
        (scripted.settings(), (9, "text/plain", "r", b"c", [("command-id", "1")])),
        (scripted.settings(protocol=V311), (None, None, None, None, [])),
    ):
        call = publishing(publish(settings), messages(b"x", retain=True, **fields))
        peer, _ = scripted.welcome()
        (packet,) = take(peer, 1)
        got = (
            packet.message_expiry_interval,
            packet.content_type,
            packet.response_topic,
            packet.correlation_data,
            packet.user_properties,
        )
        assert got == expected
        assert packet.retain
        acknowledge(peer, [packet])
        assert call.result() == [0]


@pytest.mark.parametrize("position", [0, 3])
def test_a_message_that_the_broker_closes_over_is_given_up_and_its_neighbours_arrive(
    scripted: ScriptedBroker, publish: Connect, position: int
) -> None:
    publisher = publish(scripted.settings(protocol=V311, stable_seconds=0.01))
    payloads = [b"%d" % number for number in range(5)]
    payloads[position] = b"forbidden"
    call = publishing(publisher, messages(*payloads), seconds=30)
    taken: list[bytes] = []
    while len(set(taken)) < 4:
        peer, _ = scripted.welcome()
        with contextlib.suppress(EOFError, TimeoutError):
            while len(set(taken)) < 4:
                packet = peer.expect(PublishPacket, seconds=3)
                if packet.payload == b"forbidden":
                    break
                taken.append(packet.payload)
                acknowledge(peer, [packet])
        if len(set(taken)) < 4:
            peer.close()
    expected = [0] * 5
    expected[position] = 0x83
    assert call.result() == expected
    assert publisher.counters["given_up"] == 1


def test_the_broker_s_own_words_for_a_refusal_are_kept(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publication = publish(scripted.settings()).open(timeout_seconds=10)
    call = Calling(lambda: added(publication, numbered(3)).wait())
    peer, _ = scripted.welcome()
    first, second, third = take(peer, 3)
    refused = PubAckReasonCode.NOT_AUTHORIZED
    acknowledge(peer, [second], reason_code=refused, reason_str="not in your tariff")
    acknowledge(peer, [third], reason_code=refused)
    acknowledge(peer, [first])
    assert call.result() == [0, 0x87, 0x87]
    assert publication.told == {1: "not in your tariff"}


def test_a_message_that_is_given_up_has_the_words_with_which_the_broker_closed(
    scripted: ScriptedBroker, publish: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    publication = publish(scripted.settings(stable_seconds=0.01)).open(timeout_seconds=30)
    call = Calling(lambda: added(publication, numbered(1)).wait())
    forbidden = DisconnectReasonCode.NOT_AUTHORIZED
    while True:
        peer, _ = scripted.welcome()
        if publication.codes and publication.answered:
            break
        with contextlib.suppress(EOFError, TimeoutError):
            peer.expect(PublishPacket, seconds=3)
            peer.send(DisconnectPacket(reason_code=forbidden, reason_str="no right"))
        peer.close()
    assert call.result() == [0x83]
    assert publication.told == {0: "no right (0x87)"}
    assert "and says: no right (0x87); may this user publish there?" in caplog.text


def test_threads_share_a_connection_and_get_their_own_answers(
    scripted: ScriptedBroker, publish: Connect
) -> None:
    publisher = publish(scripted.settings(), maximum_in_flight=7)
    calls = [publishing(publisher, messages(*[name] * 50)) for name in (b"a", b"b", b"c")]
    peer, _ = scripted.welcome()
    refused = PubAckReasonCode.NOT_AUTHORIZED
    for _ in range(150):
        (packet,) = take(peer, 1)
        code = refused if packet.payload == b"b" else PubAckReasonCode.SUCCESS
        acknowledge(peer, [packet], reason_code=code)
    assert [call.result() for call in calls] == [[0] * 50, [0x87] * 50, [0] * 50]


def test_closing_says_disconnect(scripted: ScriptedBroker, publish: Connect) -> None:
    publisher = publish(scripted.settings())
    peer, _ = scripted.welcome()
    publisher.wait_ready(5)
    publisher.close()
    peer.expect(DisconnectPacket)


@pytest.mark.parametrize("count", [0, 65_536])
def test_a_window_that_cant_be_is_refused(scripted: ScriptedBroker, count: int) -> None:
    with pytest.raises(ValueError, match="maximum_in_flight: must be 1 to 65,535"):
        Publisher(scripted.settings(), maximum_in_flight=count)
