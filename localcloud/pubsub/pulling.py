"""Pull and StreamingPull: the two calls that wait for messages."""

import asyncio
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from localcloud.pubsub.delivery import Delivery, Flow
from localcloud.pubsub.errors import InvalidArgument, PubSubError
from localcloud.pubsub.leases import check_ack_ids
from localcloud.pubsub.protobufs import Protobuf, PullRequest, StreamingPullRequest
from localcloud.pubsub.settings import check_ack_deadline
from localcloud.pubsub.subscriber import Subscriber, check_extension
from localcloud.pubsub.subscription import Subscription
from localcloud.pubsub.wire import received_messages

MAXIMUM_RESPONSE_MESSAGES = 1_000
MAXIMUM_RESPONSE_BYTES = 1024 * 1024
"""A response is closed once it has so many bytes: gRPC clients refuse one of more than 4 MiB."""
MAXIMUM_PULL_WAIT_SECONDS = 90.0

_END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs don't know it

# Identity serializers: requests and responses are bytes.
Context = grpc.aio.ServicerContext[bytes, bytes]


class Waiter:
    """A consumer of one subscription that sleeps until there is something to take."""

    def __init__(self, subscription: Subscription, flow: Flow) -> None:
        self._subscription = subscription
        self._flow = flow
        self._sleep: asyncio.Future[None] | None = None
        self._error: PubSubError | None = None

    def wake(self) -> bool:
        """Whether it slept and has room."""
        return self._flow.has_room() and self.resume()

    def close(self, error: PubSubError) -> None:
        """Make it raise `error` the next time it looks."""
        self._error = error
        self.resume()

    def resume(self) -> bool:
        """Wake it, room or not; whether it slept."""
        if self._sleep is None or self._sleep.done():
            return False
        self._sleep.set_result(None)
        return True

    def take(self, *, maximum_messages: int, lease_seconds: float) -> list[Delivery]:
        """Lease what is ready, one response's worth; raises what `close` was given."""
        if self._error is not None:
            raise self._error
        deliveries = self._subscription.take(
            self._flow,
            maximum_messages=min(maximum_messages, MAXIMUM_RESPONSE_MESSAGES),
            maximum_bytes=MAXIMUM_RESPONSE_BYTES,
            lease_seconds=lease_seconds,
        )
        if deliveries:
            self._subscription.notify()
        return deliveries

    async def sleep(self, seconds: float | None = None) -> None:
        """Until woken, or for so long at most."""
        self._sleep = asyncio.get_running_loop().create_future()
        try:
            if seconds is None:
                await self._sleep
            else:
                await asyncio.wait((self._sleep,), timeout=seconds)
        finally:
            self._sleep = None


def _response(subscription: Subscription, deliveries: list[Delivery]) -> bytes:
    return received_messages(
        [
            (delivery.ack_id, delivery.message[0], subscription.attempt(delivery))
            for delivery in deliveries
        ]
    )


async def pull(subscriber: Subscriber, serialized: bytes) -> bytes:
    """A serialized PullRequest in, a serialized PullResponse out.

    Waits for the first message, up to 90 s or the client's own deadline, then answers empty.
    Raises NotFound, InvalidArgument, FailedPrecondition.
    """
    request = _parse(PullRequest, serialized)
    subscription = subscriber.pullable(request.subscription)
    if request.max_messages <= 0:
        raise InvalidArgument(f"max_messages must be positive, not {request.max_messages}")
    waiter = Waiter(subscription, Flow())
    loop = asyncio.get_running_loop()
    end = loop.time() + (0.0 if request.return_immediately else MAXIMUM_PULL_WAIT_SECONDS)
    subscription.attach(waiter)
    try:
        while True:
            deliveries = waiter.take(
                maximum_messages=request.max_messages,
                lease_seconds=subscription.settings.ack_deadline_seconds,
            )
            left = end - loop.time()
            if deliveries or left <= 0:
                return _response(subscription, deliveries)
            await waiter.sleep(left)
    finally:
        subscription.leave(waiter)


class StreamingPull:
    """One stream: its first request opens it, later ones acknowledge and change deadlines."""

    def __init__(self, subscriber: Subscriber, context: Context) -> None:
        self._subscriber = subscriber
        self._context = context
        self._lease_seconds = 0

    async def run(self) -> None:
        """Serve the stream until the client ends its half; what is out keeps its lease.

        Raises NotFound, InvalidArgument, FailedPrecondition.
        """
        first = await self._context.read()
        if first is _END:
            raise InvalidArgument("the first request must set subscription")
        request = _parse(StreamingPullRequest, first)
        subscription = self._open(request)
        flow = Flow(
            maximum_messages=request.max_outstanding_messages,
            maximum_bytes=request.max_outstanding_bytes,
        )
        waiter = Waiter(subscription, flow)
        self._apply(subscription, request)
        await self._context.send_initial_metadata(())
        subscription.attach(waiter)
        reader = asyncio.create_task(self._read(subscription))
        reader.add_done_callback(lambda _: waiter.resume())
        try:
            while not reader.done():
                deliveries = waiter.take(
                    maximum_messages=MAXIMUM_RESPONSE_MESSAGES, lease_seconds=self._lease_seconds
                )
                if deliveries:
                    await self._context.write(_response(subscription, deliveries))
                else:
                    await waiter.sleep()
            reader.result()
        finally:
            reader.cancel()
            subscription.leave(waiter)

    def _open(self, request: Protobuf) -> Subscription:
        if not request.subscription:
            raise InvalidArgument("the first request must set subscription")
        if not request.stream_ack_deadline_seconds:
            raise InvalidArgument("the first request must set stream_ack_deadline_seconds")
        return self._subscriber.pullable(request.subscription)

    async def _read(self, subscription: Subscription) -> None:
        while True:
            serialized = await self._context.read()
            if serialized is _END:
                return
            request = _parse(StreamingPullRequest, serialized)
            for field in (
                "subscription",
                "max_outstanding_messages",
                "max_outstanding_bytes",
                "protocol_version",
            ):
                if getattr(request, field):
                    raise InvalidArgument(f"{field} may only be set in the first request")
            self._apply(subscription, request)

    def _apply(self, subscription: Subscription, request: Protobuf) -> None:
        """Carry out a request: all of it is checked before any of it is done."""
        ack_ids = request.ack_ids
        modified = request.modify_deadline_ack_ids
        deadlines = request.modify_deadline_seconds
        if len(modified) != len(deadlines):
            raise InvalidArgument(
                f"modify_deadline_seconds has {len(deadlines)} entries, "
                f"modify_deadline_ack_ids {len(modified)}: they must have the same number"
            )
        check_ack_ids(ack_ids, field="ack_ids")
        check_ack_ids(modified, field="modify_deadline_ack_ids")
        by_deadline: dict[int, list[str]] = {}
        for ack_id, seconds in zip(modified, deadlines, strict=True):
            by_deadline.setdefault(seconds, []).append(ack_id)
        for seconds in by_deadline:
            check_extension(seconds, field="modify_deadline_seconds")
        if request.stream_ack_deadline_seconds:
            check_ack_deadline(
                request.stream_ack_deadline_seconds, field="stream_ack_deadline_seconds"
            )
            self._lease_seconds = request.stream_ack_deadline_seconds
        if ack_ids:
            subscription.acknowledge(ack_ids)
        for seconds, ids in by_deadline.items():
            subscription.modify_ack_deadline(ids, seconds)


def _parse(kind: Protobuf, serialized: Any) -> Protobuf:
    try:
        return kind.FromString(serialized)
    except DecodeError as error:
        raise InvalidArgument(f"the {kind.DESCRIPTOR.name} is not valid protobuf") from error
