"""Resource names: `projects/{project}/{collection}/{id}`.

Any project exists here, as none has to be created first; topics, subscriptions and snapshots do.
Rules: https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
"""

import re

from localcloud.pubsub.errors import InvalidArgument

DELETED_TOPIC = "_deleted-topic_"
"""What a subscription or snapshot shows as its topic once that topic is gone."""

_PROJECT = re.compile(r"projects/([^/\s]+)")
_RESOURCE = re.compile(r"projects/([^/\s]+)/(topics|subscriptions|snapshots)/([^/\s]+)")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")


def check_name(name: str, *, collection: str, field: str) -> str:
    """Return `name` if it names a resource of `collection` ('topics', …).

    Raises InvalidArgument that names `field`.
    """
    if not name:
        raise InvalidArgument(f"{field} must be set: projects/PROJECT/{collection}/ID")
    match = _RESOURCE.fullmatch(name)
    if match is None or match[2] != collection:
        raise InvalidArgument(
            f"Invalid [{collection}] name in {field}: (name={name}) is not of the form "
            f"projects/PROJECT/{collection}/ID"
        )
    identifier = match[3]
    if not _IDENTIFIER.fullmatch(identifier) or identifier.startswith("goog"):
        raise InvalidArgument(
            f"Invalid [{collection}] name in {field}: (name={name}). The id has 3 to 255 "
            "characters, starts with a letter and not with 'goog', and holds letters, digits "
            "and - _ . ~ + % only"
        )
    return name


def check_project(name: str) -> str:
    """Return `name` if it is of the form `projects/{project}`; raises InvalidArgument."""
    if not _PROJECT.fullmatch(name):
        raise InvalidArgument(f"Invalid project name: (name={name}) is not projects/PROJECT")
    return name


def project_of(name: str) -> str:
    """The `{project}` of a checked resource name."""
    return name.split("/", 2)[1]


def last_segment(name: str) -> str:
    """The `{id}` of a checked resource name."""
    return name.rsplit("/", 1)[1]
