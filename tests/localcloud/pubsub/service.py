"""A Pub/Sub reached over gRPC only, whoever runs it: what the conformance suite speaks with."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import pytest
from google.pubsub_v1 import types

Test = TypeVar("Test", bound=Callable[..., object])

CALL_SECONDS = 10.0
# Longer than the shortest lease: a stream that is being closed may still be given a message.
PATIENCE_SECONDS = 15.0
_PUBLISHER_METHODS = frozenset(
    {
        "CreateTopic",
        "UpdateTopic",
        "Publish",
        "GetTopic",
        "ListTopics",
        "ListTopicSubscriptions",
        "ListTopicSnapshots",
        "DeleteTopic",
        "DetachSubscription",
    }
)
_ODD_REQUESTS = {"CreateTopic": "Topic", "CreateSubscription": "Subscription"}
_RESPONSES = {
    "CreateTopic": "Topic",
    "UpdateTopic": "Topic",
    "GetTopic": "Topic",
    "CreateSubscription": "Subscription",
    "UpdateSubscription": "Subscription",
    "GetSubscription": "Subscription",
    "CreateSnapshot": "Snapshot",
    "UpdateSnapshot": "Snapshot",
    "GetSnapshot": "Snapshot",
}


def emulator_deviates(reason: str) -> Callable[[Test], Test]:
    """Google's emulator is known not to do what the service does here."""

    def mark(test: Test) -> Test:
        test.emulator_deviation = reason  # type: ignore[attr-defined]
        return test

    return mark


def deviation_of(test: Callable[..., object]) -> str | None:
    return getattr(test, "emulator_deviation", None)


def message(name: str) -> Any:
    """The raw protobuf class of a message of google.pubsub.v1."""
    return getattr(types, name).pb()


class Service:
    """The raw RPCs, with requests given as keywords, and a project of its own."""

    def __init__(self, *, endpoint: str, project: str) -> None:
        self.endpoint = endpoint
        self.project = project
        self._channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", -1),
                # Else a new channel waits out the reconnect pause of an earlier one.
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._streams: list[Stream] = []

    def close(self) -> None:
        for stream in self._streams:
            stream.cancel()
        self._channel.close()

    def topic(self, name: str = "telemetry") -> str:
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str = "telemetry-all") -> str:
        return f"projects/{self.project}/subscriptions/{name}"

    def snapshot(self, name: str = "before") -> str:
        return f"projects/{self.project}/snapshots/{name}"

    def call(self, method: str, *, call_seconds: float = CALL_SECONDS, **fields: Any) -> Any:
        """One unary RPC; raises grpc.RpcError."""
        service = "Publisher" if method in _PUBLISHER_METHODS else "Subscriber"
        request = message(_ODD_REQUESTS.get(method, f"{method}Request"))(**fields)
        if method.startswith("Delete") or method in ("Acknowledge", "ModifyAckDeadline"):
            parse: Callable[[bytes], Any] = bytes
        else:
            parse = message(_RESPONSES.get(method, f"{method}Response")).FromString
        rpc = self._channel.unary_unary(
            f"/google.pubsub.v1.{service}/{method}",
            request_serializer=lambda value: value.SerializeToString(),
            response_deserializer=parse,
        )
        return rpc(request, timeout=call_seconds)

    def refuses(self, status: str, method: str, *, naming: str = "", **fields: Any) -> None:
        """The RPC must fail with `status`, and its text must have `naming` in it."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, **fields)
        assert caught.value.code().name == status, caught.value.details()
        assert naming in str(caught.value.details())

    def create(self, **fields: Any) -> Any:
        """The usual topic with the usual subscription, the latter with `fields`."""
        self.call("CreateTopic", name=self.topic())
        return self.call(
            "CreateSubscription", name=self.subscription(), topic=self.topic(), **fields
        )

    def publish(self, *data: str, topic: str = "", key: str = "", **attributes: str) -> list[str]:
        messages = [
            {"data": text.encode(), "ordering_key": key, "attributes": attributes} for text in data
        ]
        return list(
            self.call("Publish", topic=topic or self.topic(), messages=messages).message_ids
        )

    def pull(self, count: int = 1, *, subscription: str = "") -> list[Any]:
        """Pull until `count` messages are there, or fail with what came."""
        received: list[Any] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(received) < count:
            assert time.monotonic() < deadline, f"{len(received)} of {count} messages came"
            received += self.pull_now(count - len(received), subscription=subscription)
        return received

    def pull_now(self, maximum: int = 100, *, subscription: str = "") -> list[Any]:
        """What one pull finds at once."""
        return list(
            self.call(
                "Pull",
                subscription=subscription or self.subscription(),
                max_messages=maximum,
                return_immediately=True,
            ).received_messages
        )

    def acknowledge(self, received: list[Any]) -> None:
        self.call(
            "Acknowledge",
            subscription=self.subscription(),
            ack_ids=[message.ack_id for message in received],
        )

    def modify(self, received: list[Any], seconds: int) -> None:
        self.call(
            "ModifyAckDeadline",
            subscription=self.subscription(),
            ack_ids=[message.ack_id for message in received],
            ack_deadline_seconds=seconds,
        )

    def stream(self, **fields: Any) -> "Stream":
        """A streaming pull; the first request names the usual subscription and 10 s."""
        stream = Stream(
            self._channel,
            {"subscription": self.subscription(), "stream_ack_deadline_seconds": 10, **fields},
        )
        self._streams.append(stream)
        return stream


class Stream:
    """One streaming pull, read by a thread so that waiting has an end."""

    def __init__(self, channel: grpc.Channel, first: dict[str, Any]) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.send(**first)
        rpc = channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            request_serializer=lambda value: value.SerializeToString(),
            response_deserializer=message("StreamingPullResponse").FromString,
        )
        # The stubs leave the call's methods untyped.
        self._call: Any = rpc(iter(self._requests.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, **fields: Any) -> None:
        self._requests.put(message("StreamingPullRequest")(**fields))

    def half_close(self) -> None:
        self._requests.put(None)

    def cancel(self) -> None:
        self.half_close()
        self._call.cancel()

    def receive(self, count: int = 1, *, seconds: float = PATIENCE_SECONDS) -> list[Any]:
        """The next `count` messages, or fail with what came."""
        received: list[Any] = []
        deadline = time.monotonic() + seconds
        while len(received) < count:
            try:
                received.append(self._received.get(timeout=deadline - time.monotonic()))
            except (queue.Empty, ValueError):
                pytest.fail(f"{len(received)} of {count} messages came within {seconds} s")
        return received

    def stays_silent(self, seconds: float) -> bool:
        try:
            self._received.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def acknowledge(self, received: list[Any]) -> None:
        self.send(ack_ids=[message.ack_id for message in received])

    def status(self) -> str:
        """The name of the status that the stream ended with; waits for the end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._call.is_active():
            assert time.monotonic() < deadline, "the stream has not ended"
            time.sleep(0.005)
        return str(self._call.code().name)

    def _read(self) -> None:
        # Every stream that does not end by half-close ends by an error; `status` tells which.
        with contextlib.suppress(grpc.RpcError):
            for response in self._call:
                for received in response.received_messages:
                    self._received.put(received)


def texts(received: list[Any]) -> list[str]:
    return [each.message.data.decode() for each in received]


def eventually(condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)
