"""What a subscription does as time passes: leases, failures, retention. No server."""

import pytest

from localcloud.pubsub.delivery import Flow
from localcloud.pubsub.errors import PubSubError
from tests.localcloud.pubsub.turned_clock import (
    SUBSCRIPTION,
    TOPIC,
    Core,
    ack,
    data,
    nack,
    take,
)

DAY = 24 * 3600
DEAD = "projects/p/topics/dead-letters"


class Bell:
    """A consumer that counts its wakings and takes nothing."""

    def __init__(self) -> None:
        self.rung = 0
        self.error: PubSubError | None = None

    def wake(self) -> bool:
        self.rung += 1
        return True

    def close(self, error: PubSubError) -> None:
        self.error = error


def test_a_lease_ends_at_its_deadline_and_not_before(core: Core) -> None:
    subscription = core.subscription()
    core.publish("1")
    take(subscription)
    core.pass_time(9.9)
    assert take(subscription) == []
    core.pass_time(0.2)
    assert data(take(subscription)) == ["1"]


def test_only_what_is_unacknowledged_comes_back_when_a_chunk_expires(core: Core) -> None:
    subscription = core.subscription()
    core.publish("1", "2", "3")
    first, second, third = take(subscription)
    ack(subscription, [first])
    subscription.modify_ack_deadline([third.ack_id], 25)
    core.pass_time(10.1)
    again = take(subscription)
    assert data(again) == ["2"]
    assert second.failures == 1
    ack(subscription, again)
    core.pass_time(14.0)
    assert subscription.outstanding == 1
    core.pass_time(1.1)
    assert data(take(subscription)) == ["3"]


def test_a_lease_prolonged_again_and_again_is_kept(core: Core) -> None:
    subscription = core.subscription()
    core.publish("1")
    (delivery,) = take(subscription)
    for _ in range(10):
        core.pass_time(8)
        subscription.modify_ack_deadline([delivery.ack_id], 10)
    assert subscription.outstanding == 1
    core.pass_time(10.1)
    assert subscription.outstanding == 0


def test_an_ack_id_of_an_ended_lease_does_nothing(core: Core) -> None:
    subscription = core.subscription()
    core.publish("1")
    (old,) = take(subscription)
    stale = old.ack_id
    core.pass_time(10.1)
    take(subscription)
    subscription.acknowledge([stale])
    assert subscription.outstanding == 1


def test_ack_ids_of_one_subscription_mean_nothing_to_another(core: Core) -> None:
    one, other = core.subscription(), core.subscription(SUBSCRIPTION + "-2")
    core.publish("1")
    (delivery,) = take(one)
    take(other)
    other.acknowledge([delivery.ack_id])
    assert (one.outstanding, other.outstanding) == (1, 1)


def test_a_flow_is_released_by_ack_nack_and_expiry(core: Core) -> None:
    subscription = core.subscription()
    flow = Flow(maximum_messages=3)
    core.publish("1", "2", "3", "4")
    first, second, _ = take(subscription, flow=flow)
    assert take(subscription, flow=flow) == []
    ack(subscription, [first])
    nack(subscription, second)
    assert data(take(subscription, flow=flow)) == ["2", "4"]
    core.pass_time(10.1)
    assert (flow.messages, flow.bytes) == (0, 0)


def test_consumers_are_woken_in_turn_and_only_when_there_is_something(core: Core) -> None:
    subscription = core.subscription()
    bells = Bell(), Bell()
    for bell in bells:
        subscription.attach(bell)
    core.pass_time(1)
    assert [bell.rung for bell in bells] == [0, 0]
    core.publish("1")
    core.publish("2")
    assert [bell.rung for bell in bells] == [1, 1]


def test_backoff_doubles_from_minimum_to_maximum(core: Core) -> None:
    subscription = core.subscription(
        retry_policy={"minimum_backoff": {"seconds": 2}, "maximum_backoff": {"seconds": 5}}
    )
    core.publish("1")
    for pause in (2, 4, 5, 5):
        nack(subscription, *take(subscription))
        core.pass_time(pause - 0.1)
        assert take(subscription) == []
        core.pass_time(0.2)
        assert subscription.unacknowledged()
    assert data(take(subscription)) == ["1"]


def test_a_policy_that_only_exists_has_the_services_backoff(core: Core) -> None:
    subscription = core.subscription(retry_policy={})
    core.publish("1")
    nack(subscription, *take(subscription))
    core.pass_time(9.9)
    assert take(subscription) == []
    core.pass_time(0.2)
    assert data(take(subscription)) == ["1"]


def dead_lettering(core: Core, *, ordering: bool = False) -> None:
    core.topic(DEAD)
    core.subscription(
        dead_letter_policy={"dead_letter_topic": DEAD, "max_delivery_attempts": 5},
        enable_message_ordering=ordering,
    )


def test_expired_leases_count_as_attempts_too(core: Core) -> None:
    dead_lettering(core)
    subscription = core.state.subscription(SUBSCRIPTION)
    dead = core.subscription("projects/p/subscriptions/dead", topic=DEAD)
    core.publish("poison")
    for attempt in range(1, 6):
        (delivery,) = take(subscription)
        assert subscription.attempt(delivery) == attempt
        core.pass_time(10.1)
    assert data(take(dead)) == ["poison"]
    assert subscription.unacknowledged() == []


def test_a_message_whose_dead_letter_topic_is_gone_is_delivered_on(core: Core) -> None:
    dead_lettering(core)
    subscription = core.state.subscription(SUBSCRIPTION)
    core.state.remove_topic(DEAD)
    core.publish("poison")
    for _ in range(7):
        nack(subscription, *take(subscription))
    (delivery,) = take(subscription)
    assert subscription.attempt(delivery) == 8


def test_a_dead_letter_does_not_hold_up_its_ordering_key(core: Core) -> None:
    dead_lettering(core, ordering=True)
    subscription = core.state.subscription(SUBSCRIPTION)
    core.publish("poison", "next", key="k")
    for _ in range(5):
        nack(subscription, take(subscription)[0])
    core.publish("last", key="k")
    assert data(take(subscription)) == []
    (following,) = subscription.unacknowledged()[:1]
    assert following.ordering_key == "k"
    core.pass_time(10.1)
    assert data(take(subscription)) == ["next", "last"]


def test_unread_messages_are_dropped_when_their_retention_is_over(core: Core) -> None:
    subscription = core.subscription(message_retention_duration={"seconds": 600})
    core.publish("old")
    core.pass_time(400)
    core.publish("young")
    core.pass_time(201)
    assert data(take(subscription)) == ["young"]


def test_a_message_that_fails_after_its_retention_is_dropped(core: Core) -> None:
    subscription = core.subscription(message_retention_duration={"seconds": 600})
    core.publish("old")
    (delivery,) = take(subscription)
    subscription.modify_ack_deadline([delivery.ack_id], 600)
    core.pass_time(601)
    assert subscription.unacknowledged() == []


def test_an_abandoned_subscription_is_deleted_and_a_used_one_is_not(core: Core) -> None:
    core.subscription(expiration_policy={"ttl": {"seconds": DAY}})
    used = core.subscription(SUBSCRIPTION + "-used", expiration_policy={"ttl": {"seconds": DAY}})
    core.subscription(SUBSCRIPTION + "-forever", expiration_policy={})
    used.attach(Bell())
    core.pass_time(DAY + 1)
    assert sorted(core.state.subscriptions) == [
        SUBSCRIPTION + "-forever",
        SUBSCRIPTION + "-used",
    ]


def test_consumers_of_a_deleted_subscription_are_told(core: Core) -> None:
    subscription = core.subscription()
    bell = Bell()
    subscription.attach(bell)
    core.state.remove_subscription(SUBSCRIPTION)
    assert bell.error is not None
    assert SUBSCRIPTION in str(bell.error)


def test_a_topic_without_subscriptions_keeps_nothing(core: Core) -> None:
    core.topic()
    assert len(core.publish("1", "2")) == 2
    assert not core.state.topics[TOPIC].log


@pytest.mark.parametrize("ordering", [False, True])
def test_nothing_is_left_behind_by_messages_that_are_done(core: Core, ordering: bool) -> None:
    subscription = core.subscription(enable_message_ordering=ordering)
    for number in range(50):
        core.publish("x", key=f"device-{number}")
    nack(subscription, *take(subscription)[:10])
    core.pass_time(10.1)
    ack(subscription, take(subscription))
    core.pass_time(10.1)
    backlog = vars(subscription._backlog)
    assert all(not held for name, held in backlog.items() if name != "_keyless"), backlog
    assert not subscription._leases._deadlines
    assert subscription.unacknowledged() == []
