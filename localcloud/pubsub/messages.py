"""A message as it is kept: bytes that every response can carry as they are."""

from collections.abc import Mapping
from typing import NamedTuple

from localcloud.pubsub import wire
from localcloud.pubsub.protobufs import Protobuf, PubsubMessage


class StoredMessage(NamedTuple):
    """One accepted message. A topic's subscriptions share it; nothing in it ever changes."""

    frame: bytes
    """Tag, length and serialized PubsubMessage, ready to be put into a ReceivedMessage."""
    sequence: int
    """The order of acceptance over all topics, and the message id."""
    published_ns: int
    """Publish time, nanoseconds since the epoch."""
    ordering_key: str
    """'' for a message without one."""


def store(
    serialized: list[bytes], *, first_sequence: int, published_ns: int, ordering_key: str
) -> list[StoredMessage]:
    """Accept the messages of one request (each a serialized PubsubMessage) in their order."""
    publish_time = wire.publish_time_field(published_ns)
    frame = wire.message_frame
    return [
        StoredMessage(
            frame(message, b"%d" % sequence, publish_time), sequence, published_ns, ordering_key
        )
        for sequence, message in enumerate(serialized, first_sequence)
    ]


def parse(message: StoredMessage) -> Protobuf:
    """The PubsubMessage protobuf, for the rare paths that look inside."""
    return PubsubMessage.FromString(wire.unframe(message.frame))


def attributes_of(message: StoredMessage) -> Mapping[str, str]:
    """The message's attributes."""
    attributes: Mapping[str, str] = parse(message).attributes
    return attributes
