"""What a Publish request may hold.

One message past a limit makes the whole request INVALID_ARGUMENT, as in the service, and the error
names the message by its index, the field and the limit. Most messages pass on a look at their bytes
(`_is_plain`), which costs a tenth of reading their attributes.
Limits: https://cloud.google.com/pubsub/quotas#resource_limits
"""

from localcloud.pubsub.errors import InvalidArgument
from localcloud.pubsub.protobufs import Protobuf
from localcloud.pubsub.wire import split_publish_request

MAXIMUM_REQUEST_BYTES = 10 * 1024 * 1024
MAXIMUM_MESSAGES = 1_000
MAXIMUM_DATA_BYTES = 10 * 1024 * 1024
MAXIMUM_ATTRIBUTES = 100
MAXIMUM_ATTRIBUTE_KEY_BYTES = 256
MAXIMUM_ATTRIBUTE_VALUE_BYTES = 1_024
MAXIMUM_ORDERING_KEY_BYTES = 1_024
RESERVED_KEY_PREFIX = "goog"


def check_publish(request: Protobuf, serialized: bytes) -> list[bytes]:
    """Check a PublishRequest, given parsed and serialized, and return its messages, serialized.

    Raises InvalidArgument for the first message that breaks a limit.
    """
    if len(serialized) > MAXIMUM_REQUEST_BYTES:
        raise InvalidArgument(
            f"Request payload size exceeds the limit: {MAXIMUM_REQUEST_BYTES} bytes "
            f"(the request has {len(serialized)})"
        )
    messages = request.messages
    if not messages:
        raise InvalidArgument("messages: no messages to publish")
    if len(messages) > MAXIMUM_MESSAGES:
        raise InvalidArgument(
            f"messages: too many messages to publish: {len(messages)}, "
            f"the limit is {MAXIMUM_MESSAGES}"
        )
    parts = split_publish_request(serialized)
    if parts is None:
        for index, message in enumerate(messages):
            _check_message(message, index)
            _check_ordering_key(message, index, messages[0].ordering_key)
        return [message.SerializeToString() for message in messages]
    accepted, rests = parts
    key = messages[0].ordering_key
    for index, rest in enumerate(rests):
        if not _is_plain(rest):
            _check_message(messages[index], index)
        # The byte that an ordering key's field begins with.
        if key or b"\x2a" in rest or not rest:
            _check_ordering_key(messages[index], index, key)
    return accepted


def _is_plain(rest: bytes) -> bool:
    """Whether what follows a message's data is so simple that no limit can be broken in it.

    Too short for a value or an ordering key past its limit; in plain ASCII every length is below
    128, so no key is too long; every attribute has a byte 0x12; an empty key is written as 0A 00.
    A message without data, or with nothing beside it, is looked at in full.
    """
    return (
        0 < len(rest) <= MAXIMUM_ATTRIBUTE_VALUE_BYTES
        and rest.isascii()
        and b"goog" not in rest
        and b"\x0a\x00" not in rest
        and rest.count(b"\x12") <= MAXIMUM_ATTRIBUTES
    )


def _check_ordering_key(message: Protobuf, index: int, key: str) -> None:
    if message.ordering_key != key:
        raise InvalidArgument(
            f"messages[{index}].ordering_key: all messages of a request must have the same "
            f"ordering key; the first has {key!r}, this one {message.ordering_key!r}"
        )


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
