"""All topics, subscriptions and snapshots, and the time that passes for them."""

from collections.abc import Mapping, Sequence

from localcloud.pubsub.clock import Clock
from localcloud.pubsub.errors import NotFound, PubSubError
from localcloud.pubsub.leases import AckIds
from localcloud.pubsub.messages import parse, store
from localcloud.pubsub.names import DELETED_TOPIC, last_segment, project_of
from localcloud.pubsub.protobufs import Protobuf
from localcloud.pubsub.settings import SubscriptionSettings
from localcloud.pubsub.subscription import DeadLetter, Subscription
from localcloud.pubsub.topic import Snapshot, Topic

_DEAD_LETTER_ATTRIBUTE = "CloudPubSubDeadLetterSource"


class State:
    """The whole of a local Pub/Sub, in memory."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        # Both count from a time of day in microseconds: ids stay unique over restarts as long as
        # fewer than a million a second are given out.
        self._next_sequence = clock.wall_ns() // 1000
        self._ack_ids = AckIds(clock.wall_ns() // 1000)

    # Look-ups

    def topic(self, name: str) -> Topic:
        """The topic of that name; raises NotFound."""
        topic = self.topics.get(name)
        if topic is None:
            raise NotFound(f"Topic not found (resource={name})")
        return topic

    def subscription(self, name: str) -> Subscription:
        """The subscription of that name; raises NotFound."""
        subscription = self.subscriptions.get(name)
        if subscription is None:
            raise NotFound(f"Subscription does not exist (resource={name})")
        return subscription

    def snapshot(self, name: str) -> Snapshot:
        """The snapshot of that name; raises NotFound."""
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            raise NotFound(f"Snapshot not found (resource={name})")
        return snapshot

    # Messages

    def publish(
        self,
        topic: Topic,
        serialized: list[bytes],
        *,
        attributes: Sequence[Mapping[str, str]] | None,
        ordering_key: str,
    ) -> range:
        """Accept checked messages and return their message ids.

        Args:
            topic: where they go.
            serialized: a PubsubMessage each.
            attributes: those of each message, where the caller has them at hand.
            ordering_key: the one they all have.
        """
        first = self._next_sequence
        self._next_sequence = last = first + len(serialized)
        if topic.subscriptions or topic.snapshots or topic.settings.retention_ns:
            messages = store(
                serialized,
                first_sequence=first,
                published_ns=self.clock.wall_ns(),
                ordering_key=ordering_key,
            )
            topic.deliver(messages, attributes)
        return range(first, last)

    # Resources

    def add_subscription(
        self, settings: SubscriptionSettings, resource: Protobuf, topic: Topic
    ) -> None:
        """Attach a new subscription to its topic."""
        subscription = Subscription(
            settings=settings,
            resource=resource,
            clock=self.clock,
            ack_ids=self._ack_ids,
            forward=self._forward,
        )
        self.subscriptions[settings.name] = subscription
        topic.subscriptions[settings.name] = subscription

    def remove_subscription(self, name: str) -> None:
        """Delete a subscription and end its consumers."""
        subscription = self.subscription(name)
        del self.subscriptions[name]
        self._leave_topic(subscription)
        subscription.close(NotFound(f"Subscription does not exist (resource={name})"))

    def detach_subscription(self, name: str) -> None:
        """Cut a subscription off from its topic; it stays, without messages."""
        subscription = self.subscription(name)
        self._leave_topic(subscription)
        subscription.detach()

    def remove_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions keep their backlog and show a deleted topic."""
        topic = self.topic(name)
        del self.topics[name]
        for subscription in topic.subscriptions.values():
            subscription.resource.topic = DELETED_TOPIC
        for snapshot in topic.snapshots.values():
            snapshot.resource.topic = DELETED_TOPIC

    def remove_snapshot(self, name: str) -> None:
        """Delete a snapshot and the messages that only it kept."""
        snapshot = self.snapshot(name)
        del self.snapshots[name]
        topic = self.topics.get(snapshot.resource.topic)
        if topic is not None:
            topic.snapshots.pop(name, None)

    def disconnect(self, error: PubSubError) -> None:
        """End all consumers with `error`; every message stays."""
        for subscription in self.subscriptions.values():
            subscription.disconnect(error)

    # Time

    def tick(self) -> None:
        """Leases expire and pauses end. Called many times a second."""
        for subscription in tuple(self.subscriptions.values()):
            subscription.tick()

    def drop_outlived(self) -> None:
        """Retention, snapshots and idle subscriptions come to their end. Called now and then."""
        now_ns = self.clock.wall_ns()
        for topic in self.topics.values():
            topic.drop_published_before(now_ns - topic.settings.retention_ns)
        for name, subscription in tuple(self.subscriptions.items()):
            subscription.drop_outlived()
            if subscription.is_abandoned():
                self.remove_subscription(name)
        for name, snapshot in tuple(self.snapshots.items()):
            if snapshot.expires_ns <= now_ns:
                self.remove_snapshot(name)

    def _leave_topic(self, subscription: Subscription) -> None:
        topic = self.topics.get(subscription.settings.topic)
        if topic is not None and topic.subscriptions.get(subscription.settings.name) is (
            subscription
        ):
            del topic.subscriptions[subscription.settings.name]

    def _forward(self, letter: DeadLetter) -> bool:
        topic = self.topics.get(letter.topic)
        if topic is None:
            return False
        message = parse(letter.message)
        source = {
            "Subscription": last_segment(letter.subscription),
            "SubscriptionProject": project_of(letter.subscription),
            "DeliveryCount": str(letter.delivery_count),
            "TopicPublishTime": message.publish_time.ToJsonString(),
        }
        for name, value in source.items():
            message.attributes[_DEAD_LETTER_ATTRIBUTE + name] = value
        self.publish(
            topic,
            [message.SerializeToString()],
            attributes=[message.attributes],
            ordering_key=letter.message.ordering_key,
        )
        return True
