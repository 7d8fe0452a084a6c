from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mqtt.client import ConnectionSettings, Publisher, Subscriber
from mqtt.topics import TopicFilter
from tests.mqtt.client.scripted_broker import ScriptedBroker

Subscribe = Callable[..., Subscriber]
Connect = Callable[..., Publisher]


@pytest.fixture
def scripted(subscribe: Subscribe, publish: Connect) -> Iterator[ScriptedBroker]:
    """A broker that is gone before its clients are closed, so that none of them waits for it."""
    with ScriptedBroker() as broker:
        yield broker


@pytest.fixture
def subscribe() -> Iterator[Subscribe]:
    """Makes subscribers that are closed after the test."""
    made: list[Subscriber] = []

    def make(settings: ConnectionSettings, *filters: str, **options: Any) -> Subscriber:
        parsed = [TopicFilter.parse(item) for item in filters or ("a/#",)]
        made.append(Subscriber(settings, parsed, **options))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()


@pytest.fixture
def publish() -> Iterator[Connect]:
    """Makes publishers that are closed after the test."""
    made: list[Publisher] = []

    def make(settings: ConnectionSettings, **options: Any) -> Publisher:
        made.append(Publisher(settings, **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()
