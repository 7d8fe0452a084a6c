"""gRPC channels to Pub/Sub: the service, or what PUBSUB_EMULATOR_HOST names.

Raw methods on the service's own protobufs, because the client library's publisher and subscriber
batch, retry and lease for callers that have no bundle to do it in.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
from google.auth.credentials import Credentials
from google.pubsub_v1 import types

from transforms.pubsubio.errors import PubSubDenied

_SERVICE = "pubsub.googleapis.com:443"
_SCOPE = "https://www.googleapis.com/auth/pubsub"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    # The defaults reach two minutes: messages would wait long after the service is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Whoever calls tries again, and knows when not to. gRPC's own retries, even those that nobody
    # asks for, can miss the end of a stream: once in some hundred shutdowns of a server (1.85.1).
    ("grpc.enable_retries", 0),
]

StreamingPullRequest = types.StreamingPullRequest.pb()

_METHODS: dict[str, tuple[str, Any, Any]] = {
    "get_topic": ("Publisher/GetTopic", types.GetTopicRequest, types.Topic),
    "get_subscription": (
        "Subscriber/GetSubscription",
        types.GetSubscriptionRequest,
        types.Subscription,
    ),
    "list_topic_subscriptions": (
        "Publisher/ListTopicSubscriptions",
        types.ListTopicSubscriptionsRequest,
        types.ListTopicSubscriptionsResponse,
    ),
    "acknowledge": ("Subscriber/Acknowledge", types.AcknowledgeRequest, None),
    "modify_ack_deadline": (
        "Subscriber/ModifyAckDeadline",
        types.ModifyAckDeadlineRequest,
        None,
    ),
}


def open_channel(credentials: Credentials | None = None) -> grpc.Channel:
    """Opens a channel with the environment's credentials, or an emulator's without any.

    ``credentials`` are used in place of the environment's, and never sent to an emulator.

    Raises:
      PubSubDenied: there are no credentials.
    """
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if emulator:
        return grpc.insecure_channel(emulator, options=_OPTIONS)
    import google.auth.exceptions
    import google.auth.transport.grpc
    import google.auth.transport.requests

    try:
        if credentials is None:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise PubSubDenied(
            "Pub/Sub: there are no Google credentials here; run `gcloud auth application-default"
            " login`, or name a local Pub/Sub in PUBSUB_EMULATOR_HOST"
        ) from error
    channel: grpc.Channel = google.auth.transport.grpc.secure_authorized_channel(  # type: ignore[no-untyped-call]  # google-auth has no types
        credentials,
        google.auth.transport.requests.Request(),
        _SERVICE,
        options=_OPTIONS,
    )
    return channel


def method(channel: grpc.Channel, name: str) -> Any:
    """Returns a unary method of the service, taking and giving raw protobufs.

    An answer that says nothing (Empty) is given as bytes.
    """
    path, request, response = _METHODS[name]
    return channel.unary_unary(
        f"/google.pubsub.v1.{path}",
        request_serializer=request.pb().SerializeToString,
        response_deserializer=response.pb().FromString if response is not None else bytes,
    )


def publish_bytes(channel: grpc.Channel) -> Any:
    """Returns the Publish method, taking an encoded PublishRequest (see ``wire``)."""
    return channel.unary_unary(
        "/google.pubsub.v1.Publisher/Publish",
        request_serializer=None,
        response_deserializer=types.PublishResponse.pb().FromString,
    )


def streaming_pull(channel: grpc.Channel) -> Any:
    """Returns the StreamingPull method."""
    return channel.stream_stream(
        "/google.pubsub.v1.Subscriber/StreamingPull",
        request_serializer=StreamingPullRequest.SerializeToString,
        response_deserializer=types.StreamingPullResponse.pb().FromString,
    )
