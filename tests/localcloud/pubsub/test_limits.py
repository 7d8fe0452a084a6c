"""The quick look at a message's bytes and the full check refuse the same messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.pubsub.errors import InvalidArgument
from localcloud.pubsub.limits import check_publish
from localcloud.pubsub.protobufs import Protobuf, PublishRequest, PubsubMessage

TEXT = st.text(max_size=40) | st.sampled_from(
    ["goog", "googx", "agoog", "*", "\x12", "\n\0", "k" * 300, "v" * 1_100]
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "data": st.binary(max_size=40) | st.sampled_from([b"x" * 127, b"x" * 128, b"x" * 20_000]),
        "attributes": st.dictionaries(TEXT, TEXT, max_size=4),
        "ordering_key": TEXT,
        "message_id": st.just("claimed"),
    },
)


def within_limits(message: Protobuf) -> bool:
    attributes = message.attributes
    return bool(
        (message.data or attributes)
        and len(message.ordering_key.encode()) <= 1_024
        and len(attributes) <= 100
        and all(0 < len(key.encode()) <= 256 for key in attributes)
        and all(len(value.encode()) <= 1_024 for value in attributes.values())
        and not any(key.startswith("goog") for key in attributes)
    )


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4), same_key=st.booleans())
def test_a_request_is_taken_exactly_when_every_message_is_within_the_limits(
    messages: list[dict[str, object]], same_key: bool
) -> None:
    if same_key:
        for message in messages:
            message.pop("ordering_key", None)
    request = PublishRequest(topic="projects/p/topics/t", messages=messages)
    serialized = request.SerializeToString()
    keys = {message.ordering_key for message in request.messages}
    if len(keys) == 1 and all(map(within_limits, request.messages)):
        accepted = check_publish(request, serialized)
        assert list(map(PubsubMessage.FromString, accepted)) == list(request.messages)
    else:
        with pytest.raises(InvalidArgument):
            check_publish(request, serialized)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attributes", {"k" * 257: "v"}),
        ("attributes", {"ü" * 129: "v"}),
        ("attributes", {"k": "v" * 1_025}),
        ("attributes", {"": "v"}),
        ("attributes", {"googkey": "v"}),
        ("ordering_key", "k" * 1_025),
    ],
)
def test_each_limit_is_kept_by_a_message_that_has_data_too(field: str, value: object) -> None:
    request = PublishRequest(messages=[{"data": b"x", field: value}])
    with pytest.raises(InvalidArgument, match=rf"messages\[0\]\.{field}"):
        check_publish(request, request.SerializeToString())


@pytest.mark.parametrize("size", [1, 100, 127, 128, 16_300, 16_384, 20_000, 2_097_000, 2_097_152])
def test_messages_of_any_size_are_cut_out_whole(size: int) -> None:
    request = PublishRequest(
        topic="projects/p/topics/t",
        messages=[{"data": b"x" * size, "attributes": {"k": "v"}}, {"data": b"y"}],
    )
    accepted = check_publish(request, request.SerializeToString())
    assert list(map(PubsubMessage.FromString, accepted)) == list(request.messages)


def test_many_small_attributes_are_counted() -> None:
    message = {
        "data": b"x",
        "attributes": {chr(48 + n) if n < 70 else f"k{n}": "" for n in range(101)},
    }
    request = PublishRequest(messages=[message])
    with pytest.raises(InvalidArgument, match="101 attributes"):
        check_publish(request, request.SerializeToString())


def test_a_request_with_fields_of_a_later_version_is_taken_too() -> None:
    request = PublishRequest(messages=[{"data": b"x"}])
    serialized = request.SerializeToString() + b"\xa2\x06\x03abc"
    parsed = PublishRequest.FromString(serialized)
    assert check_publish(parsed, serialized) == [b"\x0a\x01x"]
