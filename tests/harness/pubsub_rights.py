"""Pub/Sub with rights: what a preflight asks of it, on the service's own protobufs.

The local Pub/Sub has no identities; here an answer to TestIamPermissions is what the test says.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types


@dataclass
class PubSubWithRights(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in stubs only
    """Topics and subscriptions, whether their configuration may be seen, and permissions."""

    topics: dict[str, types.Topic] = field(default_factory=dict)
    subscriptions: dict[str, types.Subscription] = field(default_factory=dict)
    permissions: dict[str, set[str]] = field(default_factory=dict)
    seen: bool = True

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        methods: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
            "/google.pubsub.v1.Publisher/GetTopic": (self._topic, types.GetTopicRequest.pb()),
            "/google.pubsub.v1.Subscriber/GetSubscription": (
                self._subscription,
                types.GetSubscriptionRequest.pb(),
            ),
            "/google.pubsub.v1.Publisher/ListTopicSubscriptions": (
                self._subscriptions,
                types.ListTopicSubscriptionsRequest.pb(),
            ),
            "/google.iam.v1.IAMPolicy/TestIamPermissions": (
                self._test,
                iam_policy_pb2.TestIamPermissionsRequest,
            ),
        }
        method, request = methods[str(handler_call_details.method)]
        return grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=request.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )

    def _topic(self, request: Any, context: Any) -> Any:
        return types.Topic.pb(self._get(self.topics, request.topic, context))

    def _subscription(self, request: Any, context: Any) -> Any:
        found = self._get(self.subscriptions, request.subscription, context)
        return types.Subscription.pb(found)

    def _subscriptions(self, request: Any, context: Any) -> Any:
        self._get(self.topics, request.topic, context)
        names = [name for name, each in self.subscriptions.items() if each.topic == request.topic]
        return types.ListTopicSubscriptionsResponse.pb()(subscriptions=names)

    def _test(self, request: Any, context: Any) -> Any:
        # The service answers for what isn't there with no permission, and no error.
        held = self.permissions.get(request.resource, set())
        given = [each for each in request.permissions if each in held]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=given)

    def _get(self, known: dict[str, Any], name: str, context: Any) -> Any:
        if not self.seen:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not authorized")
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found ({name})")
        return known[name]
