"""Pub/Sub for every runner: a source that keeps leases, a sink that knows ordering keys."""

from transforms.pubsubio.errors import (
    PubSubDenied,
    PubSubError,
    PubSubFailed,
    PubSubInvalid,
    PubSubNotFound,
    PubSubUnavailable,
)
from transforms.pubsubio.read import HeldMessages, ReadFromPubSub
from transforms.pubsubio.write import FramedMessages, Refused, WriteToPubSub, fail_refused

__all__ = [
    "FramedMessages",
    "HeldMessages",
    "PubSubDenied",
    "PubSubError",
    "PubSubFailed",
    "PubSubInvalid",
    "PubSubNotFound",
    "PubSubUnavailable",
    "ReadFromPubSub",
    "Refused",
    "WriteToPubSub",
    "fail_refused",
]
