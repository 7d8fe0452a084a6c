"""A topic hands what it accepts to its subscriptions and snapshots, and keeps nothing itself.

Only with a message retention of its own does it keep a log, for its subscriptions to seek in.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from localcloud.pubsub.messages import StoredMessage
from localcloud.pubsub.protobufs import Protobuf
from localcloud.pubsub.settings import TopicSettings
from localcloud.pubsub.subscription import Subscription


class Snapshot:
    """The unacknowledged messages of a subscription at one moment, and all published since."""

    def __init__(self, *, resource: Protobuf, expires_ns: int, messages: list[StoredMessage]):
        self.resource = resource
        self.expires_ns = expires_ns
        self.messages = messages


class Topic:
    """One topic with what is attached to it, by name."""

    def __init__(self, *, settings: TopicSettings, resource: Protobuf) -> None:
        self.settings = settings
        self.resource = resource
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.log: deque[StoredMessage] = deque()

    def has_filters(self) -> bool:
        """Whether a subscription will ask for attributes."""
        return any(s.settings.filter is not None for s in self.subscriptions.values())

    def deliver(
        self, messages: Sequence[StoredMessage], attributes: Sequence[Mapping[str, str]] | None
    ) -> None:
        """Hand accepted messages (and their attributes, if at hand) to all that is attached."""
        for subscription in self.subscriptions.values():
            subscription.offer(messages, attributes)
        for snapshot in self.snapshots.values():
            snapshot.messages.extend(messages)
        if self.settings.retention_ns:
            self.log.extend(messages)

    def drop_published_before(self, published_ns: int) -> None:
        """Trim the log."""
        while self.log and self.log[0].published_ns < published_ns:
            self.log.popleft()
