"""Topics and subscriptions: there, usable, and a topic without a subscription is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1 import types

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.api import Api
from pipelines.preflight.needs import Subscription, Topic
from pipelines.preflight.rights import rights
from schemas.finding import Finding, Outcome, failed, found, untold, warned
from transforms.pubsubio.channel import method, open_channel
from transforms.pubsubio.errors import create_command, told

PUBLISH = "pubsub.topics.publish"
CONSUME = "pubsub.subscriptions.consume"
LOOK = "pubsub.subscriptions.get"

_DELETED_TOPIC = "_deleted-topic_"


def examine_topic(need: Topic, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether it exists, takes what is published, and has somebody who gets it."""
    name = need.name
    publish = rights(
        access.whose,
        name,
        f"lets {access.whose} publish",
        [PUBLISH],
        lambda: _held(access.account, name, [PUBLISH], seconds),
        command=lambda: _grant(name, access.member, "publisher"),
    )
    request = types.GetTopicRequest.pb()(topic=name)
    there, topic = _existence(access, "get_topic", request, name, seconds, publish)
    yield there
    if there.outcome is Outcome.FAILED:
        return
    yield publish
    yield _subscribers(access.caller, name, topic, seconds)


def examine_subscription(
    need: Subscription, access: Access, *, seconds: float
) -> Iterator[Finding]:
    """Whether it exists, can be pulled, and is none of what the pipeline itself publishes."""
    name = need.name
    consume = rights(
        access.whose,
        name,
        f"lets {access.whose} take messages",
        [CONSUME],
        lambda: _held(access.account, name, [CONSUME], seconds),
        command=lambda: _grant(name, access.member, "subscriber"),
    )
    request = types.GetSubscriptionRequest.pb()(subscription=name)
    there, subscription = _existence(access, "get_subscription", request, name, seconds, consume)
    yield there
    if there.outcome is Outcome.FAILED:
        return
    yield consume
    look = rights(
        access.whose,
        name,
        f"lets {access.whose} look at it",
        [LOOK],
        lambda: _held(access.account, name, [LOOK], seconds),
        command=lambda: _grant(name, access.member, "viewer"),
    )
    if look.outcome is Outcome.FAILED:
        # Dataflow reads without it, but can't warn of what it then doesn't know.
        look = warned(name, look.asked, look.words, look.command)
    yield look
    if subscription is not None:
        yield _delivers(subscription, need)


def _existence(
    access: Access, ask: str, request: object, name: str, seconds: float, used: Finding
) -> tuple[Finding, Any]:
    """Asked as the caller, whose part it is to look; what may be used is there all the same."""
    asked = "exists"
    try:
        return found(name, asked), _ask(access.caller, ask, request, name, seconds)
    except CannotAsk as error:
        if used.outcome is Outcome.OK and not used.words:
            return found(name, asked), None
        return untold(name, asked, str(error)), None
    except ApiRefused as error:
        if error.status == grpc.StatusCode.NOT_FOUND.value[0]:
            return failed(name, asked, "there is none of this name", create_command(name)), None
        if used.outcome is Outcome.OK and not used.words:
            return found(name, asked), None
        return untold(name, asked, str(error)), None


def _subscribers(api: Api, name: str, topic: Any, seconds: float) -> Finding:
    asked = "has a subscription"
    request = types.ListTopicSubscriptionsRequest.pb()(topic=name, page_size=1)
    try:
        answer = _ask(api, "list_topic_subscriptions", request, name, seconds)
    except (CannotAsk, ApiRefused) as error:
        return untold(name, asked, str(error))
    if answer.subscriptions:
        return found(name, asked)
    _, project, _, short = name.split("/")
    kept = topic.message_retention_duration.seconds if topic is not None else 0
    return warned(
        name,
        asked,
        "it has none: what it accepts is dropped"
        if not kept
        else f"it has none: what it accepts is gone after {kept} s, unless a subscription is made"
        " until then and told to seek back",
        f"gcloud pubsub subscriptions create {short}-all --topic={short} --project={project}",
    )


def _delivers(subscription: Any, need: Subscription) -> Finding:
    """Whether messages come to whoever pulls it, from a topic that is there and another's."""
    asked = "delivers to whoever pulls it"
    _, project, _, short = need.name.split("/")
    if subscription.topic == _DELETED_TOPIC or subscription.detached:
        gone = "its topic was deleted" if not subscription.detached else "it was detached"
        return failed(
            need.name,
            asked,
            f"{gone}: nothing will come; make it anew on a topic (what it still holds is lost)",
            f"gcloud pubsub subscriptions delete {short} --project={project}"
            f" && {create_command(need.name)}",
        )
    elsewhere = (
        subscription.push_config.push_endpoint
        or subscription.bigquery_config.table
        or subscription.cloud_storage_config.bucket
    )
    if elsewhere:
        return failed(
            need.name,
            asked,
            f"it delivers to {elsewhere}; the pipeline needs one that nobody else takes from",
            f"gcloud pubsub subscriptions create {short}-pull --topic={subscription.topic}"
            f" --project={project}",
        )
    if need.published is not None and subscription.topic == need.published:
        return failed(
            need.name,
            asked,
            need.comes_back(),
            create_command(f"{need.published}-results"),
        )
    return found(need.name, asked)


def _held(api: Api, name: str, wanted: list[str], seconds: float) -> set[str]:
    request = iam_policy_pb2.TestIamPermissionsRequest(resource=name, permissions=wanted)
    try:
        return set(_ask(api, "test_iam_permissions", request, name, seconds).permissions)
    except ApiRefused as error:
        emulator = bool(os.environ.get("PUBSUB_EMULATOR_HOST"))
        if emulator and error.status == grpc.StatusCode.UNIMPLEMENTED.value[0]:
            return set(wanted)  # it knows no rights: everybody may
        raise


def _ask(api: Api, name: str, request: object, resource: str, seconds: float) -> Any:
    """Returns the answer. Raises CannotAsk, ApiRefused with gRPC's status."""
    with _channel(api) as channel:
        try:
            return _method(channel, name)(request, timeout=seconds)
        except grpc.RpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise CannotAsk(f"Pub/Sub can't be reached: {error.details()}") from None
            raise ApiRefused(str(told(error, resource)), status=code.value[0]) from None


def _method(channel: grpc.Channel, name: str) -> Any:
    if name != "test_iam_permissions":
        return method(channel, name)
    return channel.unary_unary(
        "/google.iam.v1.IAMPolicy/TestIamPermissions",
        request_serializer=iam_policy_pb2.TestIamPermissionsRequest.SerializeToString,
        response_deserializer=iam_policy_pb2.TestIamPermissionsResponse.FromString,
    )


@contextmanager
def _channel(api: Api) -> Iterator[grpc.Channel]:
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    channel = open_channel(None if emulator else api.credentials())
    try:
        yield channel
    finally:
        channel.close()


def _grant(name: str, member: str, role: str) -> str:
    _, project, kind, short = name.split("/")
    return (
        f"gcloud pubsub {kind} add-iam-policy-binding {short} --project={project}"
        f' --member="{member}" --role=roles/pubsub.{role}'
    )
