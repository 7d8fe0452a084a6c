"""Protobuf's wire format, as far as the hot paths build it by hand.

A message is serialized once, when it is published; from then on every response is made by putting
bytes together: tag, length, content. Field numbers are those of google/pubsub/v1/pubsub.proto.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterable

_TWO_BYTE_LIMIT = 1 << 14


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SMALL = [_varint(value) for value in range(_TWO_BYTE_LIMIT)]


def varint(value: int) -> bytes:
    """`value` (not negative) as a base-128 varint; lengths below 16 KiB come from a table."""
    return _SMALL[value] if value < _TWO_BYTE_LIMIT else _varint(value)


def publish_time_field(published_ns: int) -> bytes:
    """PubsubMessage.publish_time (field 4) for a time in nanoseconds since the epoch.

    Zeros are written too: a publisher's own publish_time, parsed before it, must not show through.
    """
    seconds, nanos = divmod(published_ns, 1_000_000_000)
    timestamp = b"\x08" + varint(seconds) + b"\x10" + varint(nanos)
    return b"\x22" + varint(len(timestamp)) + timestamp


def message_frame(
    serialized: bytes, message_id: bytes, publish_time: bytes, varint_table: list[bytes] = _SMALL
) -> bytes:
    """ReceivedMessage.message (field 2): the publisher's PubsubMessage, its id and publish time.

    Fields appended later win over those in `serialized`, so what a publisher set itself is ignored.
    """
    size = len(serialized) + 2 + len(message_id) + len(publish_time)
    return b"".join(
        (
            b"\x12",
            varint_table[size] if size < _TWO_BYTE_LIMIT else _varint(size),
            serialized,
            b"\x1a",
            varint_table[len(message_id)],
            message_id,
            publish_time,
        )
    )


def unframe(frame: bytes) -> bytes:
    """The serialized PubsubMessage inside a frame made by `message_frame`."""
    position = 1
    while frame[position] & 0x80:
        position += 1
    return frame[position + 1 :]


def split_publish_request(serialized: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """The messages of a PublishRequest, cut out of it, and what of each follows its data.

    `serialized` must have been parsed before, so that it is known to be well formed. The second
    list holds b"" for a message that does not begin with data (field 1). None: the request holds
    something beside topic and messages, or a field of more than 2 MiB.
    """
    messages: list[bytes] = []
    rests: list[bytes] = []
    position, end = 0, len(serialized)
    while position < end:
        tag, size = serialized[position], serialized[position + 1]
        start = position + 2
        if size > 0x7F:
            middle = serialized[position + 2]
            size = size & 0x7F | (middle & 0x7F) << 7
            start += 1
            if middle > 0x7F:
                high = serialized[position + 3]
                if high > 0x7F:
                    return None
                size |= high << 14
                start += 1
        position = start + size
        if tag != 0x12:
            if tag != 0x0A:
                return None
            continue
        message = serialized[start:position]
        messages.append(message)
        rests.append(_after_data(message))
    return messages, rests


def _after_data(message: bytes) -> bytes:
    if message[:1] != b"\x0a" or message[1] == 0:
        return b""
    size = message[1]
    if size < 0x80:
        return message[size + 2 :]
    size = size & 0x7F | (message[2] & 0x7F) << 7
    if message[2] < 0x80:
        return message[size + 3 :]
    if message[3] < 0x80:
        return message[(size | message[3] << 14) + 4 :]
    return b""


def received_messages(deliveries: Iterable[tuple[str, bytes, int]]) -> bytes:
    """A StreamingPullResponse, or a PullResponse: both have received_messages as field 1.

    Each delivery is (ack id, message frame, delivery attempt); attempt 0 is left out.
    """
    parts: list[bytes] = []
    append = parts.append
    small = _SMALL
    for ack_id, frame, attempt in deliveries:
        ack = ack_id.encode()
        size = 2 + len(ack) + len(frame)
        tail = b""
        if attempt:
            tail = b"\x18" + varint(attempt)
            size += len(tail)
        append(
            b"\x0a%b\x0a%b%b%b%b"
            % (
                small[size] if size < _TWO_BYTE_LIMIT else _varint(size),
                small[len(ack)],
                ack,
                frame,
                tail,
            )
        )
    return b"".join(parts)
