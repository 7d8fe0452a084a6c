"""PubsubMessage and PublishRequest as bytes, put together without a protobuf object a message.

google.pubsub.v1: ``PubsubMessage{data = 1, attributes = 2 (map), ordering_key = 5}``,
``PublishRequest{topic = 1, messages = 2}``. Whoever publishes many messages with mostly the same
attributes encodes those once (:func:`attribute`) and joins them to each message
(:func:`framed`); what comes out is what the protobuf library would have sent.
"""

from __future__ import annotations

from functools import cache, lru_cache

from apache_beam.io.gcp.pubsub import PubsubMessage
from google.pubsub_v1 import types

_Message = types.PubsubMessage.pb()

_DATA = 0x0A
_ATTRIBUTES = 0x12
_MAP_KEY = 0x0A
_MAP_VALUE = 0x12
_MESSAGES = 0x12
_TOPIC = 0x0A


def varint(value: int) -> bytes:
    """Returns the base-128 form of a number of 0 or more."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=8_192)
def data_header(size: int) -> bytes:
    """Returns what stands before ``size`` bytes of data in a message."""
    return bytes((_DATA,)) + varint(size) if size else b""


@lru_cache(maxsize=8_192)
def message_header(size: int) -> bytes:
    """Returns what stands before a message of ``size`` bytes in a request."""
    return bytes((_MESSAGES,)) + varint(size)


@cache
def _map_key(key: str) -> bytes:
    encoded = key.encode()
    return bytes((_MAP_KEY,)) + varint(len(encoded)) + encoded + bytes((_MAP_VALUE,))


def attribute(key: str, value: str) -> bytes:
    """Returns one attribute of a message. ``key`` is one of a few that a program knows."""
    name, encoded = _map_key(key), value.encode()
    size = varint(len(encoded))
    return b"".join(
        (
            bytes((_ATTRIBUTES,)),
            varint(len(name) + len(size) + len(encoded)),
            name,
            size,
            encoded,
        )
    )


def framed(data: bytes, attributes: bytes) -> bytes:
    """Returns a message with encoded attributes, framed as a part of a request."""
    header = data_header(len(data))
    size = len(header) + len(data) + len(attributes)
    return b"".join((message_header(size), header, data, attributes))


def framed_message(message: PubsubMessage, *, with_key: bool) -> bytes:
    """Returns any message, framed as a part of a request.

    Raises:
      UnicodeEncodeError: an attribute is no valid Unicode.
    """
    body: bytes = _Message(
        data=message.data or b"",
        attributes=message.attributes or {},
        ordering_key=message.ordering_key if with_key else "",
    ).SerializeToString()
    return message_header(len(body)) + body


def unframed(part: bytes) -> PubsubMessage:
    """Returns the message of one part of a request."""
    start = 1
    while part[start] & 0x80:
        start += 1
    return PubsubMessage._from_proto_str(part[start + 1 :])


@cache
def request_header(topic: str) -> bytes:
    """Returns what stands before the messages of a request."""
    encoded = topic.encode()
    return bytes((_TOPIC,)) + varint(len(encoded)) + encoded
