"""Errors of the Pub/Sub transforms: a branch of the tree in ``transforms.errors``.

::

    PubSubError (DestinationError)
    ├── PubSubUnavailable (DestinationUnavailable)  the service does not answer: it may pass
    ├── PubSubNotFound (DestinationMissing)   the topic or subscription does not exist: create it
    ├── PubSubDenied (DestinationRefused)     the credential may not use it, or there is none
    ├── PubSubInvalid                         the service does not take a message as it is
    └── PubSubFailed                          the service says no for a reason of its own
"""

from __future__ import annotations

import os

import grpc

from transforms.errors import (
    DestinationError,
    DestinationMissing,
    DestinationRefused,
    DestinationUnavailable,
)


class PubSubError(DestinationError):
    """Root of the Pub/Sub transforms' errors."""


class PubSubUnavailable(PubSubError, DestinationUnavailable):
    """The service does not answer, or asks to slow down; trying again may help."""


class PubSubNotFound(PubSubError, DestinationMissing):
    """The topic or subscription does not exist."""


class PubSubDenied(PubSubError, DestinationRefused):
    """The credential may not use the topic or subscription, or there is none."""


class PubSubInvalid(PubSubError):
    """The service refuses the content of a message."""


class PubSubFailed(PubSubError):
    """The service refuses, whatever the content: a key that is gone, a project that is closed."""


_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    }
)


def told(error: grpc.RpcError, resource: str) -> PubSubError:
    """Returns what a failed call means for ``resource`` (``projects/P/topics/T``, say)."""
    code = error.code()
    details = error.details() or code.name
    kind = "topics" if "/topics/" in resource else "subscriptions"
    if code in _PASSING:
        return PubSubUnavailable(f"{resource}: {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        local = _local_command(resource)
        return PubSubNotFound(
            f"{resource} does not exist; create it with `{create_command(resource)}`"
            + (f", in the local Pub/Sub with `{local}`" if local else "")
        )
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        role = "publisher" if kind == "topics" else "subscriber"
        return PubSubDenied(
            f"{resource}: {details}; give the pipeline's service account roles/pubsub.{role} on it"
        )
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return PubSubInvalid(f"{resource}: {details}")
    return PubSubFailed(f"{resource}: {details} ({code.name})")


def _local_command(resource: str) -> str | None:
    """Returns what does the same in what PUBSUB_EMULATOR_HOST names; None where nothing does."""
    if not os.environ.get("PUBSUB_EMULATOR_HOST"):
        return None
    if "/topics/" in resource:
        return f"mqttbeam local create --topic {resource}"
    return f"mqttbeam local create --subscription {resource}=TOPIC"


def create_command(resource: str) -> str:
    """Returns the command that creates a topic or a subscription."""
    kind = "topics" if "/topics/" in resource else "subscriptions"
    name = resource.rpartition("/")[2]
    project = resource.split("/")[1] if resource.count("/") >= 3 else "?"
    extra = " --topic=TOPIC" if kind == "subscriptions" else ""
    return f"gcloud pubsub {kind} create {name}{extra} --project={project}"
