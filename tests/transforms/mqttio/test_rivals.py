"""Of two pipelines with one client id the one that came second is told, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from mqtt5 import DisconnectPacket, DisconnectReasonCode

from mqtt.client import Subscriber
from mqtt.errors import SessionTakenOver
from mqtt.topics import TopicFilter
from tests.harness.waiting import wait_until
from tests.mqtt.client.scripted_broker import ScriptedBroker
from transforms.mqttio import BrokerSettings
from transforms.mqttio.subscriptions import _OPEN, SubscriptionSettings, check_rivals
from transforms.shared import close_shared


@pytest.fixture
def scripted() -> Iterator[ScriptedBroker]:
    try:
        with ScriptedBroker() as broker:
            yield broker
    finally:
        close_shared(settle_seconds=0.0)


def usurped_again(subscriber: Subscriber, before: int) -> bool:
    return subscriber.link.usurped > before


def test_a_shard_that_is_taken_over_three_times_from_the_first_on_has_a_rival(
    scripted: ScriptedBroker,
) -> None:
    filters = (TopicFilter("a/#"),)
    settings = SubscriptionSettings(
        broker=BrokerSettings(addresses=(scripted.address,)), client_id="t", filters=filters
    )
    # Pauses as short as a test wants them.
    subscriber = Subscriber(scripted.settings(client_id="t-0"), filters)
    _OPEN.get(("t", 0), lambda: (settings, subscriber))
    while subscriber.link.usurped < 3:
        check_rivals()
        before = subscriber.link.usurped
        subscriber.take(1, 0)
        peer, _ = scripted.subscribed()
        peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
        wait_until(partial(usurped_again, subscriber, before), seconds=5, what="a take-over")
    with pytest.raises(SessionTakenOver, match=r"as 't-0' before .* 3 times.* other than 't'"):
        check_rivals()
