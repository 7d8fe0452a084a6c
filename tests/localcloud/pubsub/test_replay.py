"""Seek and snapshots, with time turned by hand."""

from localcloud.pubsub.protobufs import by_name
from tests.localcloud.pubsub.turned_clock import (
    SUBSCRIPTION,
    TOPIC,
    Core,
    ack,
    data,
    take,
)

SNAPSHOT = "projects/p/snapshots/before"
DAY = 24 * 3600


def seek(core: Core, **fields: object) -> None:
    core.subscriber.Seek(by_name("SeekRequest")(subscription=SUBSCRIPTION, **fields))


def at(core: Core, seconds_ago: float) -> dict[str, int]:
    moment = core.clock.now_ns - round(seconds_ago * 1e9)
    return {"seconds": moment // 10**9, "nanos": moment % 10**9}


def test_a_seek_divides_at_the_publish_time(core: Core) -> None:
    subscription = core.subscription(retain_acked_messages=True)
    for text in ("old", "middle", "young"):
        core.publish(text)
        core.pass_time(60)
    ack(subscription, take(subscription))
    seek(core, time=at(core, 120))
    assert data(take(subscription)) == ["middle", "young"]


def test_a_seek_without_retention_brings_back_only_what_is_unacknowledged(core: Core) -> None:
    subscription = core.subscription()
    core.publish("acked", "out", "waiting")
    acked, _ = take(subscription, 2)
    ack(subscription, [acked])
    seek(core, time=at(core, 60))
    assert data(take(subscription)) == ["out", "waiting"]


def test_a_topic_with_retention_serves_a_seek_of_a_later_subscription(core: Core) -> None:
    core.topic(message_retention_duration={"seconds": 600})
    core.publish("before", kind="a")
    core.publish("filtered", kind="b")
    subscription = core.subscription(filter='attributes.kind = "a"')
    assert take(subscription) == []
    seek(core, time=at(core, 60))
    assert data(take(subscription)) == ["before"]


def test_a_topics_log_ends_with_its_retention(core: Core) -> None:
    core.topic(message_retention_duration={"seconds": 600})
    core.publish("before")
    core.pass_time(601)
    subscription = core.subscription()
    seek(core, time=at(core, 3_600))
    assert take(subscription) == []


def test_acknowledgements_from_before_a_seek_do_nothing_after_it(core: Core) -> None:
    subscription = core.subscription()
    core.publish("1")
    leased = take(subscription)
    stale = [delivery.ack_id for delivery in leased]
    seek(core, time=at(core, 60))
    subscription.acknowledge(stale)
    assert data(take(subscription)) == ["1"]


def test_a_seek_keeps_the_order_of_a_key(core: Core) -> None:
    subscription = core.subscription(retain_acked_messages=True, enable_message_ordering=True)
    core.publish("1", "2", "3", key="k")
    ack(subscription, take(subscription)[:2])
    seek(core, time=at(core, 60))
    assert data(take(subscription)) == ["1", "2", "3"]


def test_a_snapshot_serves_another_subscription_of_the_topic(core: Core) -> None:
    core.subscription("projects/p/subscriptions/source")
    core.publish("open")
    core.subscriber.CreateSnapshot(
        by_name("CreateSnapshotRequest")(
            name=SNAPSHOT, subscription="projects/p/subscriptions/source"
        )
    )
    subscription = core.subscription()
    core.publish("later")
    seek(core, snapshot=SNAPSHOT)
    assert data(take(subscription)) == ["open", "later"]


def test_a_snapshot_expires_seven_days_after_its_oldest_message(core: Core) -> None:
    core.subscription()
    core.publish("old")
    core.pass_time(2 * DAY)
    core.subscriber.CreateSnapshot(
        by_name("CreateSnapshotRequest")(name=SNAPSHOT, subscription=SUBSCRIPTION)
    )
    core.pass_time(5 * DAY - 1)
    assert core.state.snapshots
    core.pass_time(2)
    assert not core.state.snapshots
    assert not core.state.topics[TOPIC].snapshots
