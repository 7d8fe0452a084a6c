"""Errors of the Pub/Sub transforms.

::

    PubSubError
    ├── PubSubUnavailable  the service does not answer: it may pass
    ├── PubSubNotFound     the topic or subscription does not exist: create it
    ├── PubSubDenied       the credential may not use it: grant it
    └── PubSubInvalid      the service does not take the request as it is
"""

from __future__ import annotations

import grpc


class PubSubError(Exception):
    """Root of this package's errors."""


class PubSubUnavailable(PubSubError):
    """The service does not answer, or asks to slow down; trying again may help."""


class PubSubNotFound(PubSubError):
    """The topic or subscription does not exist."""


class PubSubDenied(PubSubError):
    """The credential may not use the topic or subscription."""


class PubSubInvalid(PubSubError):
    """The service refuses the request's content."""


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
    name = resource.rpartition("/")[2]
    project = resource.split("/")[1] if resource.count("/") >= 3 else "?"
    if code in _PASSING:
        return PubSubUnavailable(f"{resource}: {details}")
    if code is grpc.StatusCode.NOT_FOUND:
        extra = " --topic=TOPIC" if kind == "subscriptions" else ""
        return PubSubNotFound(
            f"{resource} does not exist; create it with"
            f" `gcloud pubsub {kind} create {name}{extra} --project={project}`"
        )
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        role = "publisher" if kind == "topics" else "subscriber"
        return PubSubDenied(
            f"{resource}: {details}; give the pipeline's service account roles/pubsub.{role} on it"
        )
    return PubSubInvalid(f"{resource}: {details}")
