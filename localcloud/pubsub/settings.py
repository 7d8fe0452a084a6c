"""What a topic or subscription was asked to be, checked once, when it is created or changed.

The protobuf resource is kept as the answer to Get and List, with the service's defaults written
into it; these frozen settings are what the core works with.
Bounds: google/pubsub/v1/pubsub.proto.
"""

from dataclasses import dataclass

from localcloud.pubsub.errors import InvalidArgument, Unimplemented
from localcloud.pubsub.filters import Expression, parse_filter
from localcloud.pubsub.names import check_name
from localcloud.pubsub.protobufs import Protobuf, Subscription, Topic

_NS = 1_000_000_000
_MINUTE = 60
_DAY = 24 * 3600

DEFAULT_ACK_DEADLINE_SECONDS = 10
MINIMUM_ACK_DEADLINE_SECONDS = 10
MAXIMUM_ACK_DEADLINE_SECONDS = 600
DEFAULT_RETENTION_SECONDS = 7 * _DAY
MINIMUM_RETENTION_SECONDS = 10 * _MINUTE
MAXIMUM_RETENTION_SECONDS = 31 * _DAY
DEFAULT_EXPIRATION_SECONDS = 31 * _DAY
MINIMUM_EXPIRATION_SECONDS = 1 * _DAY
DEFAULT_DELIVERY_ATTEMPTS = 5
MINIMUM_DELIVERY_ATTEMPTS = 5
MAXIMUM_DELIVERY_ATTEMPTS = 100
DEFAULT_MINIMUM_BACKOFF_SECONDS = 10
MAXIMUM_BACKOFF_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPolicy:
    """Where a message goes after its last attempt."""

    topic: str
    maximum_delivery_attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The pause before a message that failed is delivered again."""

    minimum_backoff_seconds: float
    maximum_backoff_seconds: float

    def backoff_seconds(self, failures: int) -> float:
        """The pause after the `failures`-th failure (from 1): doubling from minimum to maximum."""
        # The cap on the exponent keeps the float finite; the maximum is reached long before.
        doubled = self.minimum_backoff_seconds * 2.0 ** min(failures - 1, 100)
        return min(doubled, self.maximum_backoff_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """A topic as asked for."""

    name: str
    retention_ns: int
    """0: the topic keeps nothing of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSettings:
    """A subscription as asked for."""

    name: str
    topic: str
    ack_deadline_seconds: int
    retain_acked_messages: bool
    retention_ns: int
    enable_message_ordering: bool
    expiration_seconds: float | None
    """Idle time after which the subscription is deleted; None: never."""
    filter: Expression | None
    dead_letter: DeadLetterPolicy | None
    retry: RetryPolicy | None


def topic_settings(topic: Protobuf) -> TopicSettings:
    """Check a Topic; raises InvalidArgument or Unimplemented naming the field."""
    for field in ("ingestion_data_source_settings", "schema_settings"):
        if topic.HasField(field):
            raise Unimplemented(f"{field}: not supported by this local Pub/Sub")
    if topic.message_transforms:
        raise Unimplemented("message_transforms: not supported by this local Pub/Sub")
    retention_ns = 0
    if topic.HasField("message_retention_duration"):
        retention_ns = _retention_ns(topic.message_retention_duration)
    return TopicSettings(
        name=check_name(topic.name, collection="topics", field="name"), retention_ns=retention_ns
    )


def completed_topic(topic: Protobuf) -> Protobuf:
    """A copy of a checked Topic as the service shows it."""
    completed = Topic()
    completed.CopyFrom(topic)
    completed.state = Topic.State.Value("ACTIVE")
    return completed


def subscription_settings(subscription: Protobuf) -> SubscriptionSettings:
    """Check a Subscription; raises InvalidArgument or Unimplemented naming the field."""
    _refuse_unsupported(subscription)
    deadline = subscription.ack_deadline_seconds or DEFAULT_ACK_DEADLINE_SECONDS
    check_ack_deadline(deadline, field="ack_deadline_seconds")
    retention_ns = DEFAULT_RETENTION_SECONDS * _NS
    if subscription.HasField("message_retention_duration"):
        retention_ns = _retention_ns(subscription.message_retention_duration)
    return SubscriptionSettings(
        name=check_name(subscription.name, collection="subscriptions", field="name"),
        topic=check_name(subscription.topic, collection="topics", field="topic"),
        ack_deadline_seconds=deadline,
        retain_acked_messages=subscription.retain_acked_messages,
        retention_ns=retention_ns,
        enable_message_ordering=subscription.enable_message_ordering,
        expiration_seconds=_expiration_seconds(subscription),
        filter=parse_filter(subscription.filter) if subscription.filter else None,
        dead_letter=_dead_letter_policy(subscription),
        retry=_retry_policy(subscription),
    )


def completed_subscription(
    subscription: Protobuf, settings: SubscriptionSettings, topic: TopicSettings
) -> Protobuf:
    """A copy of a checked Subscription as the service shows it: with the defaults written in."""
    completed = Subscription()
    completed.CopyFrom(subscription)
    completed.push_config.SetInParent()
    completed.ack_deadline_seconds = settings.ack_deadline_seconds
    completed.message_retention_duration.FromNanoseconds(settings.retention_ns)
    completed.state = Subscription.State.Value("ACTIVE")
    if not completed.HasField("expiration_policy"):
        completed.expiration_policy.ttl.FromSeconds(DEFAULT_EXPIRATION_SECONDS)
    if settings.dead_letter is not None:
        policy = completed.dead_letter_policy
        policy.max_delivery_attempts = settings.dead_letter.maximum_delivery_attempts
    if settings.retry is not None:
        retry = completed.retry_policy
        retry.minimum_backoff.FromNanoseconds(round(settings.retry.minimum_backoff_seconds * _NS))
        retry.maximum_backoff.FromNanoseconds(round(settings.retry.maximum_backoff_seconds * _NS))
    completed.ClearField("topic_message_retention_duration")
    if topic.retention_ns:
        completed.topic_message_retention_duration.FromNanoseconds(topic.retention_ns)
    completed.ClearField("detached")
    return completed


def check_ack_deadline(seconds: int, *, field: str) -> None:
    """Raises InvalidArgument unless a whole lease (not an extension of one) may last so long."""
    if not MINIMUM_ACK_DEADLINE_SECONDS <= seconds <= MAXIMUM_ACK_DEADLINE_SECONDS:
        raise InvalidArgument(
            f"{field} must be between {MINIMUM_ACK_DEADLINE_SECONDS} and "
            f"{MAXIMUM_ACK_DEADLINE_SECONDS} seconds, not {seconds}"
        )


def _refuse_unsupported(subscription: Protobuf) -> None:
    if subscription.push_config.push_endpoint:
        raise Unimplemented("push_config: this local Pub/Sub delivers by pull only")
    for field in ("bigquery_config", "cloud_storage_config", "bigtable_config"):
        if subscription.HasField(field):
            raise Unimplemented(f"{field}: this local Pub/Sub delivers by pull only")
    if subscription.message_transforms:
        raise Unimplemented("message_transforms: not supported by this local Pub/Sub")
    if subscription.enable_exactly_once_delivery:
        raise Unimplemented(
            "enable_exactly_once_delivery: this local Pub/Sub delivers at least once"
        )


def _retention_ns(duration: Protobuf) -> int:
    nanoseconds: int = duration.seconds * _NS + duration.nanos
    low, high = MINIMUM_RETENTION_SECONDS, MAXIMUM_RETENTION_SECONDS
    if not low * _NS <= nanoseconds <= high * _NS:
        raise InvalidArgument(
            f"message_retention_duration must be between {low} and {high} seconds, "
            f"not {nanoseconds / _NS:g}"
        )
    return nanoseconds


def _expiration_seconds(subscription: Protobuf) -> float | None:
    if not subscription.HasField("expiration_policy"):
        return DEFAULT_EXPIRATION_SECONDS
    policy = subscription.expiration_policy
    if not policy.HasField("ttl"):
        return None
    seconds = _seconds(policy.ttl)
    if seconds < MINIMUM_EXPIRATION_SECONDS:
        raise InvalidArgument(
            f"expiration_policy.ttl must be at least {MINIMUM_EXPIRATION_SECONDS} seconds, "
            f"not {seconds:g}"
        )
    return seconds


def _dead_letter_policy(subscription: Protobuf) -> DeadLetterPolicy | None:
    if not subscription.HasField("dead_letter_policy"):
        return None
    policy = subscription.dead_letter_policy
    attempts = policy.max_delivery_attempts or DEFAULT_DELIVERY_ATTEMPTS
    if not MINIMUM_DELIVERY_ATTEMPTS <= attempts <= MAXIMUM_DELIVERY_ATTEMPTS:
        raise InvalidArgument(
            f"dead_letter_policy.max_delivery_attempts must be between "
            f"{MINIMUM_DELIVERY_ATTEMPTS} and {MAXIMUM_DELIVERY_ATTEMPTS}, not {attempts}"
        )
    return DeadLetterPolicy(
        topic=check_name(
            policy.dead_letter_topic,
            collection="topics",
            field="dead_letter_policy.dead_letter_topic",
        ),
        maximum_delivery_attempts=attempts,
    )


def _retry_policy(subscription: Protobuf) -> RetryPolicy | None:
    if not subscription.HasField("retry_policy"):
        return None
    policy = subscription.retry_policy
    minimum, maximum = float(DEFAULT_MINIMUM_BACKOFF_SECONDS), float(MAXIMUM_BACKOFF_SECONDS)
    if policy.HasField("minimum_backoff"):
        minimum = _seconds(policy.minimum_backoff)
    if policy.HasField("maximum_backoff"):
        maximum = _seconds(policy.maximum_backoff)
    for field, value in (("minimum_backoff", minimum), ("maximum_backoff", maximum)):
        if not 0 <= value <= MAXIMUM_BACKOFF_SECONDS:
            raise InvalidArgument(
                f"retry_policy.{field} must be between 0 and {MAXIMUM_BACKOFF_SECONDS} seconds, "
                f"not {value:g}"
            )
    if minimum > maximum:
        raise InvalidArgument(
            f"retry_policy.maximum_backoff ({maximum:g} s) is smaller than minimum_backoff "
            f"({minimum:g} s)"
        )
    return RetryPolicy(minimum_backoff_seconds=minimum, maximum_backoff_seconds=maximum)


def _seconds(duration: Protobuf) -> float:
    return float(duration.seconds) + float(duration.nanos) / _NS
