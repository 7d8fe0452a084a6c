"""Looking on at a Pub/Sub topic, through a subscription of the test's own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from localcloud.pubsub.protobufs import PublishRequest, PublishResponse, PubsubMessage
from localcloud.subscriber import PubSub, topic_path

_MESSAGES_A_REQUEST = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A message of the topic, and when the tap saw it (monotonic seconds)."""

    data: bytes
    attributes: Mapping[str, str]
    at: float
    ordering_key: str = ""


def message_id(seen: Seen) -> str:
    return seen.attributes["messageId"]


def command_id(seen: Seen) -> str:
    return seen.attributes["commandId"]


class Tap:
    """Everything that is published to a topic while the context is open, in order.

    Args:
      pubsub: address of the service.
      topic: short name.
      key: what tells two messages apart, for ``counts``.
    """

    def __init__(self, pubsub: str, topic: str, *, key: Callable[[Seen], str]) -> None:
        self.seen: list[Seen] = []
        self.counts: Counter[str] = Counter()
        self._key = key
        self._client = PubSub(pubsub)
        self._topic = topic
        self._open = ExitStack()
        self._thread = threading.Thread(target=self._watch, name=f"tap-{topic}", daemon=True)

    def __enter__(self) -> Self:
        self._open.enter_context(self._client)
        subscription = self._client.temporary_subscription(self._topic, what="tap")
        self._stream = self._client.stream(self._open.enter_context(subscription))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join(10)
        self._open.close()

    @property
    def distinct(self) -> int:
        return len(self.counts)

    def of(self, key: str) -> list[Seen]:
        """The messages with that key, in order."""
        return [item for item in list(self.seen) if self._key(item) == key]

    def _watch(self) -> None:
        for messages in self._stream:
            now = time.monotonic()
            for message in messages:
                item = Seen(message.data, dict(message.attributes), now, message.ordering_key)
                self.counts[self._key(item)] += 1
                self.seen.append(item)


def publish_all(
    client: PubSub, topic: str, messages: Sequence[tuple[bytes, Mapping[str, str]]]
) -> list[str]:
    """Publishes messages in large requests; returns their ids."""
    call: Any = client._call("Publisher/Publish", PublishResponse)
    ids: list[str] = []
    for start in range(0, len(messages), _MESSAGES_A_REQUEST):
        request = PublishRequest(
            topic=topic_path(topic),
            messages=[
                PubsubMessage(data=data, attributes=dict(attributes))
                for data, attributes in messages[start : start + _MESSAGES_A_REQUEST]
            ],
        )
        ids += call(request, timeout=30).message_ids
    return ids
