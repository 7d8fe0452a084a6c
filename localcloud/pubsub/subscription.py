"""One subscription: what is offered, taken, acknowledged, failed, replayed.

    offered --take--> leased --acknowledge--> done
                        |  nack, expired lease
                        +--> again, after the retry policy's pause
                        +--> the dead-letter topic, after the last attempt

No sockets and no clock of its own: `tick` is called often, and consumers are told by `notify`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from localcloud.pubsub.backlog import AnyBacklog, Backlog
from localcloud.pubsub.clock import Clock
from localcloud.pubsub.delivery import Delivery, Flow
from localcloud.pubsub.errors import FailedPrecondition, PubSubError
from localcloud.pubsub.leases import AckIds, Leases
from localcloud.pubsub.messages import StoredMessage, attributes_of
from localcloud.pubsub.ordered_backlog import OrderedBacklog
from localcloud.pubsub.protobufs import Protobuf
from localcloud.pubsub.settings import SubscriptionSettings


class Consumer(Protocol):
    """Someone who waits for messages: a streaming pull or a pull."""

    def wake(self) -> bool:
        """Messages are ready: whether this consumer was waiting, has room and will take some."""
        ...

    def close(self, error: PubSubError) -> None:
        """The subscription is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message whose last attempt has failed."""

    message: StoredMessage
    topic: str
    subscription: str
    delivery_count: int


class Subscription:
    """The state machine of one subscription.

    Args:
        settings: what it was asked to be; replaced by `change`.
        resource: the Subscription protobuf that Get and List show.
        clock: the time.
        ack_ids: where ack ids come from, shared with the other subscriptions.
        forward: publishes a DeadLetter; False if its topic does not exist (any more), in which
            case the message is delivered on.
    """

    def __init__(
        self,
        *,
        settings: SubscriptionSettings,
        resource: Protobuf,
        clock: Clock,
        ack_ids: AckIds,
        forward: Callable[[DeadLetter], bool],
    ) -> None:
        self.settings = settings
        self.resource = resource
        self.detached = False
        self._clock = clock
        self._forward = forward
        self._leases = Leases(ack_ids)
        self._backlog: AnyBacklog = (
            OrderedBacklog() if settings.enable_message_ordering else Backlog()
        )
        self._retained: deque[StoredMessage] = deque()
        """All messages offered, where acknowledged ones are retained."""
        self._consumers: deque[Consumer] = deque()
        self._used_at = clock.monotonic()

    @property
    def outstanding(self) -> int:
        """How many messages are leased."""
        return len(self._leases)

    def change(self, settings: SubscriptionSettings, resource: Protobuf) -> None:
        """Take on new settings; what is leased keeps its deadline."""
        self.settings = settings
        self.resource = resource
        if not settings.retain_acked_messages:
            self._retained.clear()

    # Consumers

    def attach(self, consumer: Consumer) -> None:
        """Tell `consumer` of messages from now on."""
        self._consumers.append(consumer)
        self._used_at = self._clock.monotonic()

    def leave(self, consumer: Consumer) -> None:
        """Stop telling `consumer`; if it was just told, the next one is."""
        self._consumers.remove(consumer)
        self._used_at = self._clock.monotonic()
        self.notify()

    def notify(self) -> None:
        """If messages are ready, wake one consumer that will take them, in turn."""
        if not self._backlog.has_ready():
            return
        consumers = self._consumers
        for _ in range(len(consumers)):
            consumer = consumers[0]
            consumers.rotate(-1)
            if consumer.wake():
                return

    def disconnect(self, error: PubSubError) -> None:
        """End the consumers with `error`; what they hold keeps its lease."""
        for consumer in tuple(self._consumers):
            consumer.close(error)

    def close(self, error: PubSubError) -> None:
        """Drop everything and end the consumers with `error`."""
        self.disconnect(error)
        self._forget()

    def detach(self) -> None:
        """Stop receiving messages for good and drop the backlog."""
        self.detached = True
        self.resource.detached = True
        self.close(self.detached_error())

    def detached_error(self) -> FailedPrecondition:
        """What a consumer of a detached subscription is told."""
        return FailedPrecondition(f"Subscription is detached (subscription={self.settings.name})")

    # Messages

    def offer(
        self, messages: Sequence[StoredMessage], attributes: Iterable[Mapping[str, str]] | None
    ) -> None:
        """Take in published messages.

        Args:
            messages: in the order of publishing.
            attributes: those of each message; None: parse them where a filter needs them.
        """
        expression = self.settings.filter
        if expression is not None:
            known = map(attributes_of, messages) if attributes is None else attributes
            messages = [
                message
                for message, values in zip(messages, known, strict=True)
                if expression.matches(values)
            ]
        if self.settings.retain_acked_messages:
            self._retained.extend(messages)
        self._backlog.add(messages)
        self.notify()

    def take(
        self, flow: Flow, *, maximum_messages: int, maximum_bytes: int, lease_seconds: float
    ) -> list[Delivery]:
        """Lease ready messages to a consumer, within its limits and these.

        Stops once the bytes reach `maximum_bytes` (or the flow's), so one message may exceed it.
        """
        if not flow.has_room():
            return []
        deliveries = self._backlog.take(
            maximum_messages=min(maximum_messages, flow.maximum_messages - flow.messages),
            maximum_bytes=min(maximum_bytes, flow.maximum_bytes - flow.bytes),
        )
        now = self._clock.monotonic()
        self._used_at = now
        self._leases.grant(deliveries, expires=now + lease_seconds, flow=flow)
        return deliveries

    def attempt(self, delivery: Delivery) -> int:
        """The delivery_attempt to show: 0 unless the subscription has a dead-letter policy."""
        return delivery.failures + 1 if self.settings.dead_letter is not None else 0

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Be done with these; ids whose lease is over are skipped."""
        ended = self._leases.end(ack_ids)
        if self.settings.enable_message_ordering:
            settle = self._backlog.settle
            for delivery in ended:
                settle(delivery)
        self._used_at = self._clock.monotonic()
        self.notify()

    def modify_ack_deadline(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Let these leases end in `seconds` from now; 0 is a nack. Ended ones are skipped."""
        now = self._clock.monotonic()
        self._used_at = now
        if seconds > 0:
            self._leases.extend(ack_ids, expires=now + seconds)
            return
        self._fail(self._leases.end(ack_ids), now)
        self.notify()

    def tick(self) -> None:
        """Let time pass: leases expire, pauses end."""
        now = self._clock.monotonic()
        if self._consumers:
            self._used_at = now
        expired = self._leases.expired(now)
        if expired:
            self._fail(expired, now)
        self._backlog.wake(now)
        self.notify()

    def drop_outlived(self) -> None:
        """Forget messages past their retention."""
        horizon = self._horizon_ns()
        self._backlog.drop_published_before(horizon)
        while self._retained and self._retained[0].published_ns < horizon:
            self._retained.popleft()

    def is_abandoned(self) -> bool:
        """Whether the expiration policy says that nobody has used it for too long."""
        limit = self.settings.expiration_seconds
        return limit is not None and self._clock.monotonic() - self._used_at > limit

    # Replay

    def unacknowledged(self) -> list[StoredMessage]:
        """All messages waiting or out, in the order of publishing."""
        messages = {message.sequence: message for message in self._backlog.waiting()}
        for delivery in self._leases.outstanding():
            messages[delivery.message.sequence] = delivery.message
        return [messages[sequence] for sequence in sorted(messages)]

    def seek_to_time(self, published_ns: int, topic_log: Iterable[StoredMessage]) -> None:
        """What was published from then on is unacknowledged, what was before is acknowledged.

        Reaches acknowledged messages as far as this subscription, or its topic with `topic_log`,
        retains them. Every lease ends.
        """
        expression = self.settings.filter
        messages = {
            message.sequence: message
            for message in topic_log
            if message.published_ns >= published_ns
            and (expression is None or expression.matches(attributes_of(message)))
        }
        for message in (*self._retained, *self.unacknowledged()):
            if message.published_ns >= published_ns:
                messages[message.sequence] = message
        self._replace([messages[sequence] for sequence in sorted(messages)])

    def seek_to(self, messages: Sequence[StoredMessage]) -> None:
        """Make exactly these (and what comes later) unacknowledged. Every lease ends."""
        expression = self.settings.filter
        if expression is not None:
            messages = [m for m in messages if expression.matches(attributes_of(m))]
        self._replace(messages)

    # Inside

    def _replace(self, messages: Sequence[StoredMessage]) -> None:
        self._leases.clear()
        self._backlog.clear()
        self._backlog.add(messages)
        self._used_at = self._clock.monotonic()
        self.notify()

    def _forget(self) -> None:
        self._leases.clear()
        self._backlog.clear()
        self._retained.clear()

    def _horizon_ns(self) -> int:
        return self._clock.wall_ns() - self.settings.retention_ns

    def _fail(self, deliveries: list[Delivery], now: float) -> None:
        """Their leases have ended without an acknowledgement."""
        # In publishing order, so that an ordering key goes back once, from its first failure on.
        deliveries.sort(key=lambda delivery: delivery.message.sequence)
        taken_back: set[Delivery] = set()
        horizon = self._horizon_ns()
        retry = self.settings.retry
        for delivery in deliveries:
            delivery.failures += 1
            if delivery in taken_back:
                continue
            if delivery.message.published_ns < horizon or self._dead_lettered(delivery):
                self._backlog.settle(delivery)
                continue
            pause = retry.backoff_seconds(delivery.failures) if retry else 0.0
            others = self._backlog.give_back(delivery, ready_at=now + pause, now=now)
            if others:
                taken_back.update(others)
                self._leases.end([other.ack_id for other in others])

    def _dead_lettered(self, delivery: Delivery) -> bool:
        policy = self.settings.dead_letter
        if policy is None or delivery.failures < policy.maximum_delivery_attempts:
            return False
        return self._forward(
            DeadLetter(
                message=delivery.message,
                topic=policy.topic,
                subscription=self.settings.name,
                delivery_count=delivery.failures,
            )
        )
