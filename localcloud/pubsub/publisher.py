"""The Publisher service: protobuf requests in, protobuf responses out, errors as PubSubError.

Methods bear the names of google.pubsub.v1.Publisher; each is done before it returns.
"""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from localcloud.pubsub.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from localcloud.pubsub.limits import check_publish
from localcloud.pubsub.names import check_name, check_project
from localcloud.pubsub.paging import page
from localcloud.pubsub.protobufs import Protobuf, PublishRequest, PublishResponse, by_name
from localcloud.pubsub.settings import completed_topic, topic_settings
from localcloud.pubsub.state import State
from localcloud.pubsub.topic import Topic
from localcloud.pubsub.updating import updated

_ListTopicsResponse = by_name("ListTopicsResponse")
_ListTopicSubscriptionsResponse = by_name("ListTopicSubscriptionsResponse")
_ListTopicSnapshotsResponse = by_name("ListTopicSnapshotsResponse")
_DetachSubscriptionResponse = by_name("DetachSubscriptionResponse")

_CHANGEABLE = frozenset(
    {"labels", "message_storage_policy", "message_retention_duration", "kms_key_name"}
)


class Publisher:
    """What a publisher and the owner of topics may ask."""

    def __init__(self, state: State) -> None:
        self._state = state

    def Publish(self, serialized: bytes) -> bytes:
        """Accept messages: a serialized PublishRequest in, a serialized PublishResponse out.

        All of the messages or none. Raises NotFound, InvalidArgument.
        """
        try:
            request = PublishRequest.FromString(serialized)
        except DecodeError as error:
            raise InvalidArgument(
                "the PublishRequest is not valid: attributes, keys and ids must be UTF-8"
            ) from error
        topic = self._state.topics.get(request.topic) or self._topic(request.topic)
        messages = check_publish(request, serialized)
        ids = self._state.publish(
            topic,
            messages,
            attributes=(
                [message.attributes for message in request.messages]
                if topic.has_filters()
                else None
            ),
            ordering_key=request.messages[0].ordering_key,
        )
        response: bytes = PublishResponse(message_ids=map(str, ids)).SerializeToString()
        return response

    def CreateTopic(self, request: Protobuf) -> Protobuf:
        """Raises AlreadyExists, InvalidArgument."""
        settings = topic_settings(request)
        if settings.name in self._state.topics:
            raise AlreadyExists(f"Topic already exists (resource={settings.name})")
        topic = Topic(settings=settings, resource=completed_topic(request))
        self._state.topics[settings.name] = topic
        return topic.resource

    def UpdateTopic(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        topic = self._topic(request.topic.name)
        resource = updated(
            topic.resource,
            request.topic,
            request.update_mask,
            kind="Topic",
            allowed=_CHANGEABLE,
        )
        topic.settings = topic_settings(resource)
        topic.resource = resource
        for subscription in topic.subscriptions.values():
            shown = subscription.resource
            shown.ClearField("topic_message_retention_duration")
            if topic.settings.retention_ns:
                shown.topic_message_retention_duration.FromNanoseconds(topic.settings.retention_ns)
        return resource

    def GetTopic(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        return self._topic(request.topic).resource

    def ListTopics(self, request: Protobuf) -> Protobuf:
        """Raises InvalidArgument."""
        prefix = check_project(request.project) + "/"
        names, token = page(
            (name for name in self._state.topics if name.startswith(prefix)),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return _ListTopicsResponse(
            topics=[self._state.topics[name].resource for name in names], next_page_token=token
        )

    def ListTopicSubscriptions(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        names, token = page(
            self._topic(request.topic).subscriptions,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return _ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def ListTopicSnapshots(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        names, token = page(
            self._topic(request.topic).snapshots,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return _ListTopicSnapshotsResponse(snapshots=names, next_page_token=token)

    def DeleteTopic(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, InvalidArgument."""
        self._topic(request.topic)
        self._state.remove_topic(request.topic)
        return Empty()

    def DetachSubscription(self, request: Protobuf) -> Protobuf:
        """Raises NotFound, FailedPrecondition if it is detached already."""
        name = check_name(request.subscription, collection="subscriptions", field="subscription")
        subscription = self._state.subscription(name)
        if subscription.detached:
            raise FailedPrecondition(f"Subscription is already detached (subscription={name})")
        self._state.detach_subscription(name)
        return _DetachSubscriptionResponse()

    def _topic(self, name: str) -> Topic:
        return self._state.topic(check_name(name, collection="topics", field="topic"))
