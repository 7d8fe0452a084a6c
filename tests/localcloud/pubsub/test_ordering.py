"""A key's messages are delivered in order, one batch at a time, and replayed from a failure on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.pubsub.publisher import Publisher
from localcloud.pubsub.state import State
from localcloud.pubsub.subscriber import Subscriber
from localcloud.pubsub.subscription import Subscription
from tests.localcloud.pubsub.turned_clock import Core, TurnedClock, ack, data, nack, take


@pytest.fixture(name="subscription")
def _subscription(core: Core) -> Subscription:
    return core.subscription(enable_message_ordering=True)


def test_a_key_has_one_batch_out_at_a_time(core: Core, subscription: Subscription) -> None:
    core.publish("1", "2", "3", key="k")
    batch = take(subscription, 2)
    assert data(batch) == ["1", "2"]
    assert take(subscription) == []
    ack(subscription, batch[1:])
    assert take(subscription) == []
    ack(subscription, batch[:1])
    assert data(take(subscription)) == ["3"]


def test_other_keys_and_messages_without_one_go_on(core: Core, subscription: Subscription) -> None:
    core.publish("a1", key="a")
    take(subscription)
    core.publish("a2", key="a")
    core.publish("b1", key="b")
    core.publish("free")
    assert data(take(subscription)) == ["b1", "free"]


def test_a_nack_replays_all_that_follows_acknowledged_or_not(
    core: Core, subscription: Subscription
) -> None:
    core.publish("1", "2", "3", "4", key="k")
    first, second, third, _ = take(subscription)
    ack(subscription, [third])
    nack(subscription, second)
    assert take(subscription) == [], "the key waits for its first message"
    assert subscription.outstanding == 1
    ack(subscription, [first])
    assert data(take(subscription)) == ["2", "3", "4"]


def test_leases_of_what_is_replayed_are_void(core: Core, subscription: Subscription) -> None:
    core.publish("1", "2", key="k")
    first, second = take(subscription)
    stale = second.ack_id
    nack(subscription, first)
    subscription.acknowledge([stale])
    assert data(take(subscription)) == ["1", "2"]


def test_an_expired_batch_is_replayed_in_order(core: Core, subscription: Subscription) -> None:
    core.publish("1", "2", "3", key="k")
    take(subscription)
    core.publish("4", key="k")
    core.pass_time(10.1)
    replayed = take(subscription)
    assert data(replayed) == ["1", "2", "3", "4"]
    assert [delivery.failures for delivery in replayed] == [1, 1, 1, 0]


def test_a_key_waits_for_its_retry_pause_and_others_do_not(core: Core) -> None:
    subscription = core.subscription(
        enable_message_ordering=True,
        retry_policy={"minimum_backoff": {"seconds": 3}, "maximum_backoff": {"seconds": 3}},
    )
    core.publish("a1", "a2", key="a")
    nack(subscription, take(subscription)[0])
    core.publish("b1", key="b")
    core.pass_time(2.9)
    assert data(take(subscription)) == ["b1"]
    core.pass_time(0.2)
    assert data(take(subscription)) == ["a1", "a2"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "take", "ack", "nack", "expire"]),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_each_key_is_first_seen_in_order_and_nothing_is_lost(
    steps: list[tuple[str, int, int]],
) -> None:
    state = State(TurnedClock())
    clock = state.clock
    assert isinstance(clock, TurnedClock)
    core = Core(clock=clock, state=state, publisher=Publisher(state), subscriber=Subscriber(state))
    subscription = core.subscription(enable_message_ordering=True)
    published: dict[str, list[str]] = {}
    seen: dict[str, list[str]] = {}
    out = []

    def receive(maximum: int) -> None:
        taken = take(subscription, maximum)
        out.extend(taken)
        batches: dict[str, list[int]] = {}
        for delivery, text in zip(taken, data(taken), strict=True):
            key = delivery.message.ordering_key
            batches.setdefault(key, []).append(int(text))
            if text not in seen.setdefault(key, []):
                seen[key].append(text)
        for batch in batches.values():
            assert batch == list(range(batch[0], batch[0] + len(batch)))

    for action, key_number, amount in steps:
        key = f"k{key_number}"
        if action == "publish":
            texts = published.setdefault(key, [])
            new = [str(len(texts) + offset) for offset in range(amount)]
            texts.extend(new)
            core.publish(*new, key=key)
        elif action == "take":
            receive(amount)
        elif action == "expire":
            core.pass_time(10.1)
        elif out:
            chosen = [out.pop(key_number * 7 % len(out)) for _ in range(min(amount, len(out)))]
            (ack if action == "ack" else lambda sub, all_: nack(sub, *all_))(subscription, chosen)
    core.pass_time(10.1)
    while subscription.unacknowledged():
        before = len(out)
        receive(1_000)
        assert len(out) > before, "unacknowledged messages are stuck"
        ack(subscription, out)
        out.clear()
    assert seen == published
