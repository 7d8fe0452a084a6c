"""The few Pub/Sub calls of the harness, on the raw RPCs: they must cost little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

MESSAGES_A_REQUEST = 1000
_LIMIT_BYTES = 64 << 20
_PUBLISHER = "/google.pubsub.v1.Publisher/"
_SUBSCRIBER = "/google.pubsub.v1.Subscriber/"

_Topic = types.Topic.pb()
_Subscription = types.Subscription.pb()
_Publish = types.PublishRequest.pb()
_Published = types.PublishResponse.pb()
_Message = types.PubsubMessage.pb()
_Pull = types.PullRequest.pb()
_Pulled = types.PullResponse.pb()
_Acknowledge = types.AcknowledgeRequest.pb()
_Empty = empty_pb2.Empty
StreamingPull = types.StreamingPullRequest.pb()
_StreamingPulled = types.StreamingPullResponse.pb()


class PubSub:
    """A channel to the Pub/Sub at ``address`` ("host:port")."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", _LIMIT_BYTES),
                ("grpc.max_send_message_length", _LIMIT_BYTES),
            ],
        )
        self._publish = self._unary(_PUBLISHER + "Publish", _Publish, _Published)
        self._pull = self._unary(_SUBSCRIBER + "Pull", _Pull, _Pulled)
        self._acknowledge = self._unary(_SUBSCRIBER + "Acknowledge", _Acknowledge, _Empty)

    def _unary(self, method: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def __enter__(self) -> PubSub:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def create_topic(self, name: str) -> None:
        """Creates ``projects/P/topics/T``."""
        self._unary(_PUBLISHER + "CreateTopic", _Topic, _Topic)(
            _Topic(name=name), timeout=30, wait_for_ready=True
        )

    def create_subscription(self, name: str, topic: str) -> None:
        """Creates ``projects/P/subscriptions/S`` on a topic, with leases of ten minutes, so that
        no message is delivered twice on account of a measurement's pauses.
        """
        self._unary(_SUBSCRIBER + "CreateSubscription", _Subscription, _Subscription)(
            _Subscription(name=name, topic=topic, ack_deadline_seconds=600), timeout=30
        )

    def publish(self, topic: str, messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> None:
        """Publishes at most 1,000 messages (data, attributes) in one request."""
        self._publish(
            _Publish(
                topic=topic,
                messages=[_Message(data=data, attributes=given) for data, given in messages],
            ),
            timeout=30,
        )

    def pull(self, subscription: str) -> list[tuple[bytes, float]]:
        """Pulls what waits, at most 1,000 messages, acknowledges them, and returns the data and
        the time of the epoch at which Pub/Sub accepted each. Empty when nothing came for a while.
        """
        try:
            received = self._pull(
                _Pull(subscription=subscription, max_messages=MESSAGES_A_REQUEST), timeout=5
            ).received_messages
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return []
            raise
        if received:
            self._acknowledge(
                _Acknowledge(subscription=subscription, ack_ids=[m.ack_id for m in received]),
                timeout=30,
            )
        return [
            (
                m.message.data,
                m.message.publish_time.seconds + m.message.publish_time.nanos / 1e9,
            )
            for m in received
        ]

    def streaming_pull(self, requests: Iterator[Any]) -> Any:
        """Opens a streaming pull; the first request names the subscription."""
        return self._channel.stream_stream(
            _SUBSCRIBER + "StreamingPull",
            request_serializer=StreamingPull.SerializeToString,
            response_deserializer=_StreamingPulled.FromString,
        )(requests)
