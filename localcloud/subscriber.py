"""Pub/Sub as the run and the command line use it: publish, and look on.

The raw RPCs over one channel, on the protobuf classes themselves: the run counts every message
of the telemetry topic, and may not slow down what it measures.
"""

import queue
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import empty_pb2

from localcloud.endpoints import PROJECT
from localcloud.pubsub.protobufs import (
    Protobuf,
    PublishRequest,
    PublishResponse,
    PubsubMessage,
    StreamingPullRequest,
    Subscription,
    Topic,
    by_name,
)

ACK_DEADLINE_SECONDS = 60
RPC_TIMEOUT_SECONDS = 10.0
# One message may have 10 MB, one answer several.
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class PubSub:
    """A connection to the local Pub/Sub, made at the first call; a context manager.

    Errors are grpc.RpcError, with the service's own codes.
    """

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS)
        self._publish = self._call("Publisher/Publish", PublishResponse)
        self._create_topic = self._call("Publisher/CreateTopic", Topic)
        self._create_subscription = self._call("Subscriber/CreateSubscription", Subscription)
        self._delete_subscription = self._call("Subscriber/DeleteSubscription", empty_pb2.Empty)
        self._streaming_pull = self._channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=StreamingPullRequest.SerializeToString,
            response_deserializer=by_name("StreamingPullResponse").FromString,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way end with CANCELLED."""
        self._channel.close()

    def wait_until_up(self, timeout_seconds: float) -> None:
        """Wait for the server; raises grpc.FutureTimeoutError."""
        grpc.channel_ready_future(self._channel).result(timeout=timeout_seconds)

    def create_topic(self, topic: str) -> None:
        """Create a topic; one that is there is fine."""
        self._unless_there(self._create_topic, Topic(name=topic_path(topic)))

    def create_subscription(
        self, subscription: str, *, topic: str, message_filter: str = ""
    ) -> None:
        """Create a subscription; one that is there is fine."""
        self._unless_there(
            self._create_subscription,
            Subscription(
                name=subscription_path(subscription),
                topic=topic_path(topic),
                filter=message_filter,
                ack_deadline_seconds=ACK_DEADLINE_SECONDS,
            ),
        )

    def delete_subscription(self, subscription: str) -> None:
        """Delete a subscription."""
        request = by_name("DeleteSubscriptionRequest")(subscription=subscription_path(subscription))
        self._delete_subscription(request, timeout=RPC_TIMEOUT_SECONDS)

    @contextmanager
    def temporary_subscription(
        self, topic: str, *, what: str, message_filter: str = ""
    ) -> Iterator[str]:
        """Give the name of a subscription that is deleted at the end."""
        name = f"{topic}-{what}-{secrets.token_hex(4)}"
        self.create_subscription(name, topic=topic, message_filter=message_filter)
        try:
            yield name
        finally:
            self.delete_subscription(name)

    def publish(
        self, topic: str, data: bytes, attributes: Mapping[str, str], *, ordering_key: str = ""
    ) -> str:
        """Publish one message; return its id."""
        message = PubsubMessage(data=data, attributes=dict(attributes), ordering_key=ordering_key)
        request = PublishRequest(topic=topic_path(topic), messages=[message])
        answer = self._publish(request, timeout=RPC_TIMEOUT_SECONDS)
        return str(answer.message_ids[0])

    def stream(self, subscription: str, *, timeout_seconds: float | None = None) -> "Stream":
        """Return the messages of a subscription as they come, until it is closed or times out."""
        return Stream(self._streaming_pull, subscription, timeout_seconds)

    def create_all(self, topics: Iterable[str], subscriptions: Mapping[str, str]) -> None:
        """Create topics, then subscriptions (name to topic)."""
        for topic in topics:
            self.create_topic(topic)
        for subscription, topic in subscriptions.items():
            self.create_subscription(subscription, topic=topic)

    def _unless_there(self, call: Any, request: Protobuf) -> None:
        try:
            call(request, timeout=RPC_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise

    def _call(self, method: str, answer: Protobuf) -> Any:
        return self._channel.unary_unary(
            f"/google.pubsub.v1.{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )


class Stream:
    """An iterator over the batches of a streaming pull; each is a list of PubsubMessage.

    A batch is acknowledged when the next one is asked for. Pull would not do: what the service
    leases to a call that its client gives up at this moment comes again only after the lease.
    """

    def __init__(self, call: Any, subscription: str, timeout_seconds: float | None) -> None:
        self._requests: queue.SimpleQueue[Protobuf | None] = queue.SimpleQueue()
        self._requests.put(
            StreamingPullRequest(
                subscription=subscription_path(subscription),
                stream_ack_deadline_seconds=ACK_DEADLINE_SECONDS,
            )
        )
        self._closed = False
        self._call = call(iter(self._requests.get, None), timeout=timeout_seconds)

    def __iter__(self) -> Iterator[Sequence[Protobuf]]:
        """Give the batches; ends when it is closed or its time is over, raises grpc.RpcError."""
        try:
            for response in self._call:
                received = response.received_messages
                yield [each.message for each in received]
                ack_ids = [each.ack_id for each in received]
                self._requests.put(StreamingPullRequest(ack_ids=ack_ids))
        except grpc.RpcError as error:
            timed_out = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if not timed_out and not self._closed:
                raise
        finally:
            self._requests.put(None)

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed = True
        self._call.cancel()


def topic_path(topic: str) -> str:
    """Return a topic's full name; one that is full already stays as it is."""
    return topic if topic.startswith("projects/") else f"projects/{PROJECT}/topics/{topic}"


def subscription_path(subscription: str) -> str:
    """Return a subscription's full name; one that is full already stays as it is."""
    full = subscription.startswith("projects/")
    return subscription if full else f"projects/{PROJECT}/subscriptions/{subscription}"
