from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from google.pubsub_v1 import types

from localcloud.pubsub.embedded import LocalPubSub
from localcloud.subscriber import PubSub, subscription_path, topic_path
from transforms.pubsubio.channel import open_channel


@dataclass(frozen=True)
class Place:
    """A topic with one subscription, of one test."""

    service: LocalPubSub
    topic: str
    subscription: str

    def received(self, count: int, *, seconds: float = 15) -> list[types.PubsubMessage]:
        """The messages that the subscription holds, acknowledged as they come."""
        got: list[types.PubsubMessage] = []
        with PubSub(self.service.endpoint) as client:
            name = self.subscription.rpartition("/")[2]
            for batch in client.stream(name, timeout_seconds=seconds):
                got += batch
                if len(got) >= count:
                    break
        return got


@pytest.fixture(scope="module")
def service() -> Iterator[LocalPubSub]:
    with LocalPubSub() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PUBSUB_EMULATOR_HOST", running.endpoint)
        yield running


@pytest.fixture
def channel(service: LocalPubSub) -> Iterator[grpc.Channel]:
    with open_channel() as opened:
        yield opened


@pytest.fixture
def place(service: LocalPubSub) -> Place:
    suffix = secrets.token_hex(4)
    with PubSub(service.endpoint) as client:
        client.create_topic(f"topic-{suffix}")
        client.create_subscription(f"sub-{suffix}", topic=f"topic-{suffix}")
    return Place(service, topic_path(f"topic-{suffix}"), subscription_path(f"sub-{suffix}"))
