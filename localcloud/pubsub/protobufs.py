"""The raw protobuf classes of google.pubsub.v1.

google-cloud-pubsub wraps them in proto-plus, which costs microseconds a field; the classes below
are the ones underneath (`Topic.pb()`), which parse and serialize in C.
"""

from typing import Any

from google.pubsub_v1 import types

# The protobuf classes are made at run time and carry no types.
Protobuf = Any

Topic: Protobuf = types.Topic.pb()
Subscription: Protobuf = types.Subscription.pb()
Snapshot: Protobuf = types.Snapshot.pb()
PubsubMessage: Protobuf = types.PubsubMessage.pb()
PublishRequest: Protobuf = types.PublishRequest.pb()
PublishResponse: Protobuf = types.PublishResponse.pb()
StreamingPullRequest: Protobuf = types.StreamingPullRequest.pb()
AcknowledgeRequest: Protobuf = types.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest: Protobuf = types.ModifyAckDeadlineRequest.pb()
PullRequest: Protobuf = types.PullRequest.pb()


def by_name(name: str) -> Protobuf:
    """The class of any other message of the package, such as 'ListTopicsRequest'."""
    return getattr(types, name).pb()
