from __future__ import annotations

from functools import partial

import pytest
from mqtt5 import (
    DisconnectPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    RetainHandling,
    SubAckReasonCode,
    SubscribePacket,
    UnsubscribePacket,
)

from mqtt.client import Batch, Subscriber
from mqtt.client import subscriber as module
from mqtt.errors import BrokerUnreachable, SubscriptionRefused
from mqtt.topics import TopicFilter
from tests.harness.waiting import wait_until
from tests.mqtt.client.conftest import Subscribe
from tests.mqtt.client.scripted_broker import V311, Peer, ScriptedBroker


def take(subscriber: Subscriber, maximum: int = 100) -> Batch:
    batch = subscriber.take(maximum, 5)
    assert batch is not None, "no message came"
    return batch


def payloads(batch: Batch) -> list[bytes]:
    return [packet.payload for packet in batch.packets]


def acks(peer: Peer, count: int) -> list[int]:
    return [peer.expect(PubAckPacket).packet_id for _ in range(count)]


def test_messages_are_acknowledged_when_told_and_not_before(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"), ("a/2", b"two"))
    batch = take(subscriber)
    assert payloads(batch) == [b"one", b"two"]
    assert peer.silent(seconds=0.1)
    assert subscriber.acknowledge([batch]) == 2
    assert acks(peer, 2) == [1, 2]


def test_a_batch_is_acknowledged_once(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"))
    batch = take(subscriber)
    assert (subscriber.acknowledge([batch]), subscriber.acknowledge([batch])) == (1, 0)
    assert acks(peer, 1) == [1]
    assert peer.silent(seconds=0.1)


def test_an_acknowledgement_never_goes_to_another_connection(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"old"))
    old = take(subscriber)
    peer.close()
    peer, _ = scripted.subscribed(session_present=True)
    # The same packet identifier, another message.
    peer.publish(("a/1", b"new"))
    new = take(subscriber)
    assert subscriber.acknowledge([old]) == 0
    assert peer.silent(seconds=0.1)
    assert subscriber.acknowledge([new]) == 1
    assert acks(peer, 1) == [1]


def test_what_is_queued_when_the_connection_breaks_is_left_to_the_broker(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"), ("a/2", b"two"))
    wait_until(lambda: subscriber.oldest_time, seconds=5, what="two messages queued")
    peer.close()
    peer, _ = scripted.subscribed(session_present=True)
    wait_until(lambda: subscriber.oldest_time is None, seconds=5, what="an empty queue")
    peer.publish(("a/1", b"one"), ("a/2", b"two"), duplicate=True)
    assert payloads(take(subscriber)) == [b"one", b"two"]
    assert subscriber.counters["redelivered"] == 2


def test_messages_of_qos_0_survive_a_broken_connection(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.send(PublishPacket("a/1", b"only here"))
    peer.publish(("a/2", b"comes again"))
    wait_until(lambda: subscriber.counters["received"] == 2, seconds=5, what="two messages")
    peer.close()
    scripted.subscribed(session_present=True)
    batch = take(subscriber)
    assert payloads(batch) == [b"only here"]
    assert subscriber.acknowledge([batch]) == 0


def test_what_is_given_back_is_handed_out_again_in_its_old_order(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(*((f"a/{number}", b"%d" % number) for number in range(6)))
    wait_until(lambda: subscriber.counters["received"] == 6, seconds=5, what="six messages")
    first, second = take(subscriber, 2), take(subscriber, 2)
    subscriber.give_back([first, second])
    again = [payload for _ in range(3) for payload in payloads(take(subscriber, 2))]
    assert again == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert subscriber.acknowledge([first]) == 0


def test_what_is_given_back_after_the_connection_broke_is_left_to_the_broker(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"))
    batch = take(subscriber)
    peer.close()
    scripted.subscribed(session_present=True)
    subscriber.give_back([batch])
    assert subscriber.oldest_time is None


def test_a_batch_that_stays_unacknowledged_makes_the_broker_send_it_again(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), unacked_seconds=0.2)
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"))
    take(subscriber)
    with pytest.raises(EOFError):
        peer.next()
    peer, _ = scripted.subscribed(session_present=True)
    assert subscriber.counters["overdue"] == 1


def test_what_an_earlier_connection_delivered_does_not_end_this_one(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), unacked_seconds=0.2)
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"))
    take(subscriber)
    peer.close()
    peer, _ = scripted.subscribed(session_present=True)
    # Longer than a batch may take and two of the link's ticks.
    assert peer.silent(seconds=1.2)
    assert subscriber.counters["overdue"] == 0


def test_a_refused_filter_is_named_with_its_reason_code(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), "a/#", "secret/#")
    scripted.subscribed(
        [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, SubAckReasonCode.NOT_AUTHORIZED]
    )
    with pytest.raises(SubscriptionRefused, match=r"'secret/#'.*not authorized \(0x87\)") as told:
        subscriber.wait_ready(5)
    assert (told.value.topic_filter, told.value.reason_code) == ("secret/#", 0x87)
    assert told.value.permanent


def test_a_filter_refused_by_3_1_1_is_named_too(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(protocol=V311))
    scripted.subscribed([SubAckReasonCode.UNSPECIFIED_ERROR])
    with pytest.raises(SubscriptionRefused, match=r"'a/#'.*0x80"):
        subscriber.wait_ready(5)


def test_a_suback_that_does_not_answer_every_filter_is_no_end_without_words(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), "a/#", "b/#")
    scripted.subscribed([SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE])
    scripted.subscribed()
    subscriber.wait_ready(5)


def test_a_broker_without_shared_subscriptions_is_told_apart(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), "$share/group/a/#")
    scripted.welcome(shared_subscription_available=False)
    with pytest.raises(SubscriptionRefused, match=r"no shared subscriptions.*one shard"):
        subscriber.wait_ready(5)


def test_filters_are_subscribed_at_qos_1_after_the_stale_ones_are_ended(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    stale = TopicFilter.parse("$share/group/a/#")
    subscribe(scripted.settings(), "a/#", "b/+", stale_filters=[stale])
    peer, connect = scripted.welcome()
    assert not connect.clean_start
    assert connect.session_expiry_interval == 60
    assert peer.expect(UnsubscribePacket).patterns == ["$share/group/a/#"]
    filters = peer.expect(SubscribePacket).topic_filters
    assert [(item.pattern, item.max_qos) for item in filters] == [
        ("a/#", QoS.AT_LEAST_ONCE),
        ("b/+", QoS.AT_LEAST_ONCE),
    ]
    assert all(
        item.retain_handling == RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS for item in filters
    )


def read_or_full(subscriber: Subscriber, number: int) -> bool:
    return subscriber.full or subscriber.counters["received"] > number


def test_too_many_messages_of_qos_0_are_left_in_the_socket(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(receive_maximum=5))
    peer, _ = scripted.subscribed()
    for number in range(40):
        # Each is a read of its own, or they would be taken in one.
        peer.send(PublishPacket("a/1", b"%d" % number))
        wait_until(partial(read_or_full, subscriber, number), seconds=5, what="read, or full")
    assert subscriber.counters["received"] <= 12
    got: list[bytes] = []
    while len(got) < 40:
        got += payloads(take(subscriber))
    assert got == [b"%d" % number for number in range(40)]


def test_payloads_in_work_count_towards_what_may_be_held(
    scripted: ScriptedBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_HELD_BYTES", 1_000)
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", bytes(1_500)))
    batch = take(subscriber)
    assert subscriber.full
    subscriber.give_back([batch])
    assert subscriber.full
    subscriber.acknowledge([take(subscriber)])
    assert not subscriber.full


def test_a_stopped_reader_does_not_end_the_connection(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(receive_maximum=1, keep_alive_seconds=1))
    peer, _ = scripted.subscribed()
    peer.send(*(PublishPacket("a/1", b"") for _ in range(5)))
    wait_until(lambda: subscriber.full, seconds=5, what="full")
    # Its pings go on although their answers are not read.
    for _ in range(4):
        peer.next(seconds=2)
    assert subscriber.counters["losses"] == 0


def test_the_messages_of_a_read_are_shared_out_as_asked(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(*((f"a/{number}", b"%d" % number) for number in range(5)))
    wait_until(lambda: subscriber.counters["received"] == 5, seconds=5, what="five messages")
    sizes = [len(take(subscriber, 2).packets) for _ in range(3)]
    assert sizes == [2, 2, 1]
    assert subscriber.take(2, 0) is None


def test_counts_are_drained_once(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    peer.publish(("a/1", b"one"))
    subscriber.acknowledge([take(subscriber)])
    counts, latencies = subscriber.drain_counters()
    assert counts == {"connects": 1, "received": 1, "acked": 1}
    assert len(latencies) == 1
    assert subscriber.drain_counters() == ({}, [])


def test_closing_says_disconnect(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    subscriber = subscribe(scripted.settings())
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    subscriber.close()
    peer.expect(DisconnectPacket)
    with pytest.raises(EOFError):
        peer.next()


def test_a_start_is_given_up_after_its_time(scripted: ScriptedBroker, subscribe: Subscribe) -> None:
    settings = scripted.settings()
    scripted.close()
    subscriber = subscribe(settings, start_timeout_seconds=0.2)
    subscriber.check_started()

    def given_up() -> bool:
        try:
            subscriber.check_started()
        except BrokerUnreachable as error:
            return "refused" in str(error)
        return False

    wait_until(given_up, seconds=5, what="check_started raises the reason")


def test_a_loss_after_the_start_is_no_reason_to_give_up(
    scripted: ScriptedBroker, subscribe: Subscribe
) -> None:
    subscriber = subscribe(scripted.settings(), start_timeout_seconds=0.01)
    peer, _ = scripted.subscribed()
    subscriber.wait_ready(5)
    peer.close()
    scripted.close()
    wait_until(lambda: subscriber.counters["failures"], seconds=5, what="a failed attempt")
    subscriber.check_started()
