"""Names that are legal everywhere they go: user name, client identifier and topic level."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@=-]{0,127}")
_NAME_RULE = "1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ = - that begin with a letter or digit"

_CREDENTIAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@=-]*(/[A-Za-z0-9._~:@=-]+)+")
_CREDENTIAL_ID_RULE = "a name, a slash and what tells it apart there, such as meter-7/2026"
_MAXIMUM_CREDENTIAL_ID = 255


def check_name(name: str) -> str:
    """Returns the legal name of a device, service, role or authority, else raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} must be {_NAME_RULE}")
    return name


def check_client_id_prefix(prefix: str) -> str:
    """Returns a service's legal prefix, a name or nothing, else raises ValueError.

    Nothing: every client identifier is the service's, and nobody else can be in the registry.
    """
    return check_name(prefix) if prefix else prefix


def check_credential_id(identifier: str) -> str:
    """Returns a credential's legal id, else raises ValueError. An authority's name is never one."""
    if len(identifier) > _MAXIMUM_CREDENTIAL_ID or not _CREDENTIAL_ID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} must be {_CREDENTIAL_ID_RULE}")
    return identifier
