"""The core with time turned by hand, for tests of what happens when time passes."""

from dataclasses import dataclass

from localcloud.pubsub.delivery import Delivery, Flow
from localcloud.pubsub.messages import parse
from localcloud.pubsub.protobufs import Protobuf, PublishRequest, PublishResponse, Topic
from localcloud.pubsub.protobufs import Subscription as SubscriptionResource
from localcloud.pubsub.publisher import Publisher
from localcloud.pubsub.state import State
from localcloud.pubsub.subscriber import Subscriber
from localcloud.pubsub.subscription import Subscription

TOPIC = "projects/p/topics/telemetry"
SUBSCRIPTION = "projects/p/subscriptions/telemetry-all"
LEASE_SECONDS = 10


class TurnedClock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def monotonic(self) -> float:
        return self.now_ns / 1e9

    def wall_ns(self) -> int:
        return self.now_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The two services on one state, and short ways to use them."""

    clock: TurnedClock
    state: State
    publisher: Publisher
    subscriber: Subscriber

    def pass_time(self, seconds: float) -> None:
        self.clock.now_ns += round(seconds * 1e9)
        self.state.tick()
        self.state.drop_outlived()

    def topic(self, name: str = TOPIC, **fields: object) -> Protobuf:
        return self.publisher.CreateTopic(Topic(name=name, **fields))

    def subscription(
        self, name: str = SUBSCRIPTION, *, topic: str = TOPIC, **fields: object
    ) -> Subscription:
        if topic not in self.state.topics:
            self.topic(topic)
        self.subscriber.CreateSubscription(SubscriptionResource(name=name, topic=topic, **fields))
        return self.state.subscription(name)

    def publish(
        self, *data: str, topic: str = TOPIC, key: str = "", **attributes: str
    ) -> list[str]:
        request = PublishRequest(
            topic=topic,
            messages=[
                {"data": text.encode(), "ordering_key": key, "attributes": attributes}
                for text in data
            ],
        )
        response = PublishResponse.FromString(self.publisher.Publish(request.SerializeToString()))
        return list(response.message_ids)


def take(
    subscription: Subscription, maximum: int = 1_000, flow: Flow | None = None
) -> list[Delivery]:
    return subscription.take(
        flow or Flow(),
        maximum_messages=maximum,
        maximum_bytes=1 << 20,
        lease_seconds=LEASE_SECONDS,
    )


def data(deliveries: list[Delivery]) -> list[str]:
    return [parse(delivery.message).data.decode() for delivery in deliveries]


def ack(subscription: Subscription, deliveries: list[Delivery]) -> None:
    subscription.acknowledge([delivery.ack_id for delivery in deliveries])


def nack(subscription: Subscription, *deliveries: Delivery) -> None:
    subscription.modify_ack_deadline([delivery.ack_id for delivery in deliveries], 0)
