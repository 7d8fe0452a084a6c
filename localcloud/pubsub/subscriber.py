"""The Subscriber service: protobuf requests in, protobuf responses out, errors as PubSubError.

Methods bear the names of google.pubsub.v1.Subscriber; each is done before it returns. The two that
wait, Pull and StreamingPull, are the shell's: they take from a `Subscription`.
"""

import secrets

from google.protobuf.empty_pb2 import Empty

from localcloud.pubsub.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Unimplemented,
)
from localcloud.pubsub.leases import check_ack_ids
from localcloud.pubsub.names import check_name, check_project, project_of
from localcloud.pubsub.paging import page
from localcloud.pubsub.protobufs import Protobuf, by_name
from localcloud.pubsub.protobufs import Snapshot as SnapshotResource
from localcloud.pubsub.settings import (
    MAXIMUM_ACK_DEADLINE_SECONDS,
    completed_subscription,
    subscription_settings,
)
from localcloud.pubsub.state import State
from localcloud.pubsub.subscription import Subscription
from localcloud.pubsub.topic import Snapshot
from localcloud.pubsub.updating import updated

_ListSubscriptionsResponse = by_name("ListSubscriptionsResponse")
_ListSnapshotsResponse = by_name("ListSnapshotsResponse")
_SeekResponse = by_name("SeekResponse")

_NS = 1_000_000_000
SNAPSHOT_LIFETIME_NS = 7 * 24 * 3600 * _NS
MINIMUM_SNAPSHOT_LIFETIME_NS = 3600 * _NS

_CHANGEABLE = frozenset(
    {
        "push_config",
        "ack_deadline_seconds",
        "retain_acked_messages",
        "message_retention_duration",
        "labels",
        "expiration_policy",
        "dead_letter_policy",
        "retry_policy",
        "enable_exactly_once_delivery",
    }
)


class Subscriber:
    """What a consumer and the owner of subscriptions may ask."""

    def __init__(self, state: State) -> None:
        self._state = state

    # Subscriptions

    def CreateSubscription(self, request: Protobuf) -> Protobuf:
        """Raises AlreadyExists, NotFound, InvalidArgument, Unimplemented."""
        settings = subscription_settings(request)
        if settings.name in self._state.subscriptions:
            raise AlreadyExists(f"Subscription already exists (resource={settings.name})")
        topic = self._state.topic(settings.topic)
        if settings.dead_letter is not None:
            self._state.topic(settings.dead_letter.topic)
        resource = completed_subscription(request, settings, topic.settings)
        self._state.add_subscription(settings, resource, topic)
        return resource

    def GetSubscription(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        return self.subscription(request.subscription).resource

    def UpdateSubscription(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument, Unimplemented, FailedPrecondition if it is cut off."""
        subscription = self.subscription(request.subscription.name)
        resource = updated(
            subscription.resource,
            request.subscription,
            request.update_mask,
            kind="Subscription",
            allowed=_CHANGEABLE,
        )
        topic = self._state.topics.get(subscription.resource.topic)
        if topic is None or subscription.detached:
            raise FailedPrecondition(
                f"{subscription.settings.name} has no topic any more and cannot be changed"
            )
        settings = subscription_settings(resource)
        if settings.dead_letter is not None:
            self._state.topic(settings.dead_letter.topic)
        completed = completed_subscription(resource, settings, topic.settings)
        subscription.change(settings, completed)
        return completed

    def ListSubscriptions(self, request: Protobuf) -> Protobuf:
        """Raises InvalidArgument."""
        prefix = check_project(request.project) + "/"
        names, token = page(
            (name for name in self._state.subscriptions if name.startswith(prefix)),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return _ListSubscriptionsResponse(
            subscriptions=[self._state.subscriptions[name].resource for name in names],
            next_page_token=token,
        )

    def DeleteSubscription(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        self.subscription(request.subscription)
        self._state.remove_subscription(request.subscription)
        return Empty()

    def ModifyPushConfig(self, request: Protobuf) -> Protobuf:
        """An empty push_config leaves the subscription at pull; raises Unimplemented otherwise."""
        self.subscription(request.subscription)
        if request.push_config.push_endpoint:
            raise Unimplemented("push_config: this local Pub/Sub delivers by pull only")
        return Empty()

    # Leases

    def Acknowledge(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument for none or malformed ack ids."""
        subscription = self.subscription(request.subscription)
        if not request.ack_ids:
            raise InvalidArgument("ack_ids: no ack ids specified")
        check_ack_ids(request.ack_ids, field="ack_ids")
        subscription.acknowledge(request.ack_ids)
        return Empty()

    def ModifyAckDeadline(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument for none or malformed ack ids or a bad deadline."""
        subscription = self.subscription(request.subscription)
        seconds = request.ack_deadline_seconds
        check_extension(seconds, field="ack_deadline_seconds")
        if not request.ack_ids:
            raise InvalidArgument("ack_ids: no ack ids specified")
        check_ack_ids(request.ack_ids, field="ack_ids")
        subscription.modify_ack_deadline(request.ack_ids, seconds)
        return Empty()

    # Snapshots and seek

    def CreateSnapshot(self, request: Protobuf) -> Protobuf:
        """Raises AlreadyExists, NotFound, InvalidArgument, FailedPrecondition."""
        subscription = self.subscription(request.subscription)
        name = request.name or (
            f"projects/{project_of(request.subscription)}/snapshots/s{secrets.token_hex(8)}"
        )
        check_name(name, collection="snapshots", field="name")
        if name in self._state.snapshots:
            raise AlreadyExists(f"Snapshot already exists (resource={name})")
        topic = self._state.topics.get(subscription.resource.topic)
        if topic is None or subscription.detached:
            raise FailedPrecondition(
                f"{request.subscription} has no topic any more: nothing to take a snapshot of"
            )
        messages = subscription.unacknowledged()
        now_ns = self._state.clock.wall_ns()
        oldest_ns = messages[0].published_ns if messages else now_ns
        expires_ns = oldest_ns + SNAPSHOT_LIFETIME_NS
        if expires_ns - now_ns < MINIMUM_SNAPSHOT_LIFETIME_NS:
            raise FailedPrecondition(
                f"{request.subscription}: a snapshot would expire in less than an hour, as its "
                "oldest unacknowledged message is nearly 7 days old"
            )
        resource = SnapshotResource(
            name=name, topic=topic.settings.name, labels=dict(request.labels)
        )
        resource.expire_time.FromNanoseconds(expires_ns)
        snapshot = Snapshot(resource=resource, expires_ns=expires_ns, messages=messages)
        self._state.snapshots[name] = snapshot
        topic.snapshots[name] = snapshot
        return resource

    def GetSnapshot(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        return self._snapshot(request.snapshot).resource

    def UpdateSnapshot(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        snapshot = self._snapshot(request.snapshot.name)
        resource = updated(
            snapshot.resource,
            request.snapshot,
            request.update_mask,
            kind="Snapshot",
            allowed=frozenset({"labels", "expire_time"}),
        )
        snapshot.resource = resource
        snapshot.expires_ns = resource.expire_time.ToNanoseconds()
        return resource

    def ListSnapshots(self, request: Protobuf) -> Protobuf:
        """Raises InvalidArgument."""
        prefix = check_project(request.project) + "/"
        names, token = page(
            (name for name in self._state.snapshots if name.startswith(prefix)),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return _ListSnapshotsResponse(
            snapshots=[self._state.snapshots[name].resource for name in names],
            next_page_token=token,
        )

    def DeleteSnapshot(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        self._snapshot(request.snapshot)
        self._state.remove_snapshot(request.snapshot)
        return Empty()

    def Seek(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument, FailedPrecondition for another topic's snapshot."""
        subscription = self.subscription(request.subscription)
        target = request.WhichOneof("target")
        if target is None:
            raise InvalidArgument("target: one of time and snapshot must be set")
        if subscription.detached:
            raise subscription.detached_error()
        if target == "time":
            topic = self._state.topics.get(subscription.resource.topic)
            subscription.seek_to_time(
                request.time.ToNanoseconds(), topic.log if topic is not None else ()
            )
            return _SeekResponse()
        snapshot = self._snapshot(request.snapshot)
        if snapshot.resource.topic != subscription.resource.topic:
            raise FailedPrecondition(
                f"{request.snapshot} is of {snapshot.resource.topic}, "
                f"{request.subscription} of {subscription.resource.topic}: they must have one topic"
            )
        subscription.seek_to(snapshot.messages)
        return _SeekResponse()

    # Look-ups, for the shell too

    def subscription(self, name: str) -> Subscription:
        """The subscription of that name; raises NotFound, InvalidArgument."""
        return self._state.subscriptions.get(name) or self._state.subscription(
            check_name(name, collection="subscriptions", field="subscription")
        )

    def pullable(self, name: str) -> Subscription:
        """The subscription of that name; raises FailedPrecondition too, if it is detached."""
        subscription = self.subscription(name)
        if subscription.detached:
            raise subscription.detached_error()
        return subscription

    def _snapshot(self, name: str) -> Snapshot:
        return self._state.snapshot(check_name(name, collection="snapshots", field="snapshot"))


def check_extension(seconds: int, *, field: str) -> None:
    """Raises InvalidArgument unless a lease may be moved to end in so many seconds (0: a nack)."""
    if not 0 <= seconds <= MAXIMUM_ACK_DEADLINE_SECONDS:
        raise InvalidArgument(
            f"{field} must be between 0 and {MAXIMUM_ACK_DEADLINE_SECONDS} seconds, not {seconds}"
        )
