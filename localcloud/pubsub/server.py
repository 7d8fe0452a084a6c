"""The gRPC shell: the two services of google.pubsub.v1 on one port."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import DecodeError

from localcloud.pubsub.clock import Clock, SystemClock
from localcloud.pubsub.errors import InvalidArgument, PubSubError, Unavailable
from localcloud.pubsub.protobufs import Protobuf, Subscription, Topic, by_name
from localcloud.pubsub.publisher import Publisher
from localcloud.pubsub.pulling import Context, StreamingPull, pull
from localcloud.pubsub.state import State
from localcloud.pubsub.subscriber import Subscriber

TICK_SECONDS = 0.05
"""How late an expired lease or an ended pause may be seen."""
OUTLIVED_SECONDS = 1.0
STOP_GRACE_SECONDS = 0.5

_OPTIONS = (
    # A request past the service's own limit must reach the check that names the limit.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    # Two servers on one port would share its connections in silence.
    ("grpc.so_reuseport", 0),
    # Clients keep idle streams alive by pings, and must not be refused for them.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

Unary = Callable[[bytes, Context], Awaitable[bytes]]

# Method -> its request. Publish, Pull and StreamingPull take bytes and are not listed.
_PUBLISHER_REQUESTS: dict[str, Protobuf] = {
    "CreateTopic": Topic,
    "UpdateTopic": by_name("UpdateTopicRequest"),
    "GetTopic": by_name("GetTopicRequest"),
    "ListTopics": by_name("ListTopicsRequest"),
    "ListTopicSubscriptions": by_name("ListTopicSubscriptionsRequest"),
    "ListTopicSnapshots": by_name("ListTopicSnapshotsRequest"),
    "DeleteTopic": by_name("DeleteTopicRequest"),
    "DetachSubscription": by_name("DetachSubscriptionRequest"),
}
_SUBSCRIBER_REQUESTS: dict[str, Protobuf] = {
    "CreateSubscription": Subscription,
    "GetSubscription": by_name("GetSubscriptionRequest"),
    "UpdateSubscription": by_name("UpdateSubscriptionRequest"),
    "ListSubscriptions": by_name("ListSubscriptionsRequest"),
    "DeleteSubscription": by_name("DeleteSubscriptionRequest"),
    "ModifyPushConfig": by_name("ModifyPushConfigRequest"),
    "Acknowledge": by_name("AcknowledgeRequest"),
    "ModifyAckDeadline": by_name("ModifyAckDeadlineRequest"),
    "CreateSnapshot": by_name("CreateSnapshotRequest"),
    "GetSnapshot": by_name("GetSnapshotRequest"),
    "UpdateSnapshot": by_name("UpdateSnapshotRequest"),
    "ListSnapshots": by_name("ListSnapshotsRequest"),
    "DeleteSnapshot": by_name("DeleteSnapshotRequest"),
    "Seek": by_name("SeekRequest"),
}


class PubSubServer:
    """A local Pub/Sub on the running asyncio loop.

    Args:
        host: address to bind; anyone who can reach it can use it, so loopback unless you mean it.
        port: 0 lets the system choose.
        clock: the time that leases and retention go by.

    Raises:
        OSError: from `start`, if the address cannot be bound.
    """

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, clock: Clock | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._state = State(clock or SystemClock())
        self._server: grpc.aio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The bound port, once started."""
        return self._port

    @property
    def endpoint(self) -> str:
        """`host:port`, as PUBSUB_EMULATOR_HOST wants it."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Bind and serve."""
        await self.open_port()
        self._ticker = asyncio.create_task(self._tick())

    async def failed(self) -> None:
        """Return only by raising: when the passing of time has run into a fault."""
        if self._ticker is not None:
            await asyncio.shield(self._ticker)

    async def stop(self) -> None:
        """End all streams as UNAVAILABLE, finish what is under way and free the port."""
        if self._ticker is not None:
            self._ticker.cancel()
        await self.close_port()

    async def open_port(self) -> None:
        """Listen: on the port asked for, or again on the one that `close_port` gave up."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(
            (
                _publisher_handlers(Publisher(self._state)),
                _subscriber_handlers(Subscriber(self._state)),
            )
        )
        try:
            self._port = server.add_insecure_port(f"{self._host}:{self._port}")
        except RuntimeError as error:
            raise OSError(f"cannot bind {self._host}:{self._port}: {error}") from error
        await server.start()
        self._server = server

    async def close_port(self) -> None:
        """Refuse connections, and end those there are as UNAVAILABLE; messages and leases stay."""
        self._state.disconnect(Unavailable("the local Pub/Sub is stopping"))
        if self._server is not None:
            await self._server.stop(STOP_GRACE_SECONDS)
            self._server = None

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = 0.0
        while True:
            self._state.tick()
            if loop.time() >= look_at:
                self._state.drop_outlived()
                look_at = loop.time() + OUTLIVED_SECONDS
            await asyncio.sleep(TICK_SECONDS)


def _publisher_handlers(publisher: Publisher) -> "grpc.GenericRpcHandler[bytes, bytes]":
    async def publish(serialized: bytes, context: Context) -> bytes:
        try:
            return publisher.Publish(serialized)
        except PubSubError as error:
            return await _abort(context, error)

    methods = {name: _plain(getattr(publisher, name), r) for name, r in _PUBLISHER_REQUESTS.items()}
    return _service("google.pubsub.v1.Publisher", {**methods, "Publish": publish})


def _subscriber_handlers(subscriber: Subscriber) -> "grpc.GenericRpcHandler[bytes, bytes]":
    async def pull_messages(serialized: bytes, context: Context) -> bytes:
        try:
            return await pull(subscriber, serialized)
        except PubSubError as error:
            return await _abort(context, error)

    async def streaming_pull(_: object, context: Context) -> None:
        try:
            await StreamingPull(subscriber, context).run()
        except PubSubError as error:
            await _abort(context, error)

    methods = {
        name: _plain(getattr(subscriber, name), r) for name, r in _SUBSCRIBER_REQUESTS.items()
    }
    return _service(
        "google.pubsub.v1.Subscriber",
        {**methods, "Pull": pull_messages},
        {"StreamingPull": grpc.stream_stream_rpc_method_handler(streaming_pull)},
    )


def _plain(method: Callable[[Protobuf], Protobuf], request: Protobuf) -> Unary:
    """A method of the core as a coroutine on bytes: parse, call, serialize; errors abort."""

    async def call(serialized: bytes, context: Context) -> bytes:
        try:
            try:
                parsed = request.FromString(serialized)
            except DecodeError as error:
                raise InvalidArgument(
                    f"the {request.DESCRIPTOR.name} is not valid protobuf"
                ) from error
            response: bytes = method(parsed).SerializeToString()
        except PubSubError as error:
            return await _abort(context, error)
        return response

    return call


def _service(
    name: str,
    unary: dict[str, Unary],
    streaming: "dict[str, grpc.RpcMethodHandler[bytes, bytes]] | None" = None,
) -> "grpc.GenericRpcHandler[bytes, bytes]":
    methods = {
        method: grpc.unary_unary_rpc_method_handler(behaviour)
        for method, behaviour in unary.items()
    }
    return grpc.method_handlers_generic_handler(name, {**methods, **(streaming or {})})


async def _abort(context: Context, error: PubSubError) -> bytes:
    await context.abort(grpc.StatusCode[error.status], str(error))
    raise AssertionError("abort does not return")
