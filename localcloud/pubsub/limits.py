"""What a Publish request may hold.

One message past a limit makes the whole request INVALID_ARGUMENT, as in the service, and the error
names the message by its index, the field and the limit.
Limits: https://cloud.google.com/pubsub/quotas#resource_limits
"""

from localcloud.pubsub.errors import InvalidArgument
from localcloud.pubsub.protobufs import Protobuf

MAXIMUM_REQUEST_BYTES = 10 * 1024 * 1024
MAXIMUM_MESSAGES = 1_000
MAXIMUM_DATA_BYTES = 10 * 1024 * 1024
MAXIMUM_ATTRIBUTES = 100
MAXIMUM_ATTRIBUTE_KEY_BYTES = 256
MAXIMUM_ATTRIBUTE_VALUE_BYTES = 1_024
MAXIMUM_ORDERING_KEY_BYTES = 1_024
RESERVED_KEY_PREFIX = "goog"


def check_publish(request: Protobuf, *, request_bytes: int) -> list[bytes]:
    """Check a parsed PublishRequest of `request_bytes` and return its messages, serialized.

    Raises InvalidArgument for the first message that breaks a limit. Most messages pass on their
    sizes alone: a message whose serialized form, data apart, fits into the shortest limit cannot
    break any of them.
    """
    if request_bytes > MAXIMUM_REQUEST_BYTES:
        raise InvalidArgument(
            f"Request payload size exceeds the limit: {MAXIMUM_REQUEST_BYTES} bytes "
            f"(the request has {request_bytes})"
        )
    messages = request.messages
    if not messages:
        raise InvalidArgument("messages: no messages to publish")
    if len(messages) > MAXIMUM_MESSAGES:
        raise InvalidArgument(
            f"messages: too many messages to publish: {len(messages)}, "
            f"the limit is {MAXIMUM_MESSAGES}"
        )
    key = messages[0].ordering_key
    accepted = []
    for index, message in enumerate(messages):
        serialized = message.SerializeToString()
        data_bytes = len(message.data)
        if (
            not data_bytes
            or len(serialized) - data_bytes > MAXIMUM_ATTRIBUTE_KEY_BYTES
            or b"goog" in serialized
            or b"\x0a\x00" in serialized
        ):
            _check_message(message, index)
        if message.ordering_key != key:
            raise InvalidArgument(
                f"messages[{index}].ordering_key: all messages of a request must have the same "
                f"ordering key; the first has {key!r}, this one {message.ordering_key!r}"
            )
        accepted.append(serialized)
    return accepted


def _check_message(message: Protobuf, index: int) -> None:
    where = f"messages[{index}]"
    attributes = message.attributes
    if not message.data and not attributes:
        raise InvalidArgument(
            f"{where}: the message is empty: it must have data or at least one attribute"
        )
    _check_size(f"{where}.data", len(message.data), MAXIMUM_DATA_BYTES)
    _check_size(
        f"{where}.ordering_key", len(message.ordering_key.encode()), MAXIMUM_ORDERING_KEY_BYTES
    )
    if len(attributes) > MAXIMUM_ATTRIBUTES:
        raise InvalidArgument(
            f"{where}.attributes: {len(attributes)} attributes, the limit is {MAXIMUM_ATTRIBUTES}"
        )
    for key, value in attributes.items():
        # A string of ASCII has as many bytes as characters, which is most of them.
        key_bytes = len(key) if key.isascii() else len(key.encode())
        value_bytes = len(value) if value.isascii() else len(value.encode())
        if not 0 < key_bytes <= MAXIMUM_ATTRIBUTE_KEY_BYTES:
            raise InvalidArgument(
                f"{where}.attributes: a key of {key_bytes} bytes ({key[:40]!r}), "
                f"1 to {MAXIMUM_ATTRIBUTE_KEY_BYTES} are allowed"
            )
        if value_bytes > MAXIMUM_ATTRIBUTE_VALUE_BYTES:
            _check_size(f"{where}.attributes[{key!r}]", value_bytes, MAXIMUM_ATTRIBUTE_VALUE_BYTES)
        if key.startswith(RESERVED_KEY_PREFIX):
            raise InvalidArgument(
                f"{where}.attributes: the key {key!r} must not start with {RESERVED_KEY_PREFIX!r}"
            )


def _check_size(field: str, size: int, limit: int) -> None:
    if size > limit:
        raise InvalidArgument(f"{field}: {size} bytes, the limit is {limit}")
