"""What Pub/Sub takes, checked message by message before the call.

One bad message makes its whole request INVALID_ARGUMENT, forever: its neighbours would never
arrive. Source of the limits: cloud.google.com/pubsub/quotas#resource_limits.
"""

from __future__ import annotations

from collections.abc import Mapping

MAXIMUM_DATA_BYTES = 10_000_000
MAXIMUM_ATTRIBUTES = 100
MAXIMUM_KEY_BYTES = 256
MAXIMUM_VALUE_BYTES = 1_024
MAXIMUM_ORDERING_KEY_BYTES = 1_024
MAXIMUM_REQUEST_BYTES = 9_990_000
"""Of the encoded messages: the service's 10 MB, less the topic's name and the framing. A single
message of the largest size is sent alone and may pass it."""
MAXIMUM_REQUEST_MESSAGES = 1_000

_BYTES_A_CHARACTER = 4


def refusal(data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> str | None:
    """Returns why Pub/Sub would refuse the message, or None if it would take it."""
    if len(data) > MAXIMUM_DATA_BYTES:
        return f"data has {len(data):,} bytes; Pub/Sub takes {MAXIMUM_DATA_BYTES:,}"
    if not data and not attributes:
        return "neither data nor attributes; Pub/Sub wants one of them"
    if len(attributes) > MAXIMUM_ATTRIBUTES:
        return f"{len(attributes)} attributes; Pub/Sub takes {MAXIMUM_ATTRIBUTES}"
    for key, value in attributes.items():
        # The length in characters settles nearly every case without encoding anything.
        if len(value) * _BYTES_A_CHARACTER > MAXIMUM_VALUE_BYTES or not value.isascii():
            size = _utf8_bytes(value)
            if size is None:
                return f"attribute {key!r} is not valid Unicode"
            if size > MAXIMUM_VALUE_BYTES:
                return (
                    f"attribute {key!r} has {size:,} bytes; Pub/Sub takes {MAXIMUM_VALUE_BYTES:,}"
                )
        if not key:
            return "an attribute with an empty key"
        if len(key) * _BYTES_A_CHARACTER > MAXIMUM_KEY_BYTES or not key.isascii():
            size = _utf8_bytes(key)
            if size is None or size > MAXIMUM_KEY_BYTES:
                return (
                    f"attribute key {key[:40]!r}… is no valid Unicode of at most"
                    f" {MAXIMUM_KEY_BYTES} bytes"
                )
        if key.startswith("goog"):
            return f"attribute key {key!r}: Pub/Sub keeps keys that begin with 'goog' to itself"
    if ordering_key:
        size = _utf8_bytes(ordering_key)
        if size is None or size > MAXIMUM_ORDERING_KEY_BYTES:
            return (
                f"ordering key {ordering_key[:40]!r}… is no valid Unicode of at most"
                f" {MAXIMUM_ORDERING_KEY_BYTES:,} bytes"
            )
    return None


def _utf8_bytes(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None
