"""Bytes put together by hand read back as the protobufs they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from localcloud.pubsub import wire
from localcloud.pubsub.messages import parse, store
from localcloud.pubsub.protobufs import PubsubMessage, by_name

PullResponse = by_name("PullResponse")


@given(
    data=st.binary(max_size=200) | st.just(b"x" * 20_000),
    sequence=st.integers(0, 10**18),
    published_ns=st.integers(0, 4 * 10**18),
    attempt=st.integers(0, 100),
)
def test_a_stored_message_reads_back_in_a_response(
    data: bytes, sequence: int, published_ns: int, attempt: int
) -> None:
    claimed = PubsubMessage(
        data=data, message_id="claimed", publish_time={"seconds": 1, "nanos": 5}
    )
    (stored,) = store(
        [claimed.SerializeToString()],
        first_sequence=sequence,
        published_ns=published_ns,
        ordering_key="",
    )
    response = PullResponse.FromString(
        wire.received_messages([("7", stored.frame, attempt), ("8", stored.frame, 0)])
    )
    first, second = response.received_messages
    assert (first.ack_id, first.delivery_attempt) == ("7", attempt)
    assert (second.ack_id, second.delivery_attempt) == ("8", 0)
    assert first.message == second.message == parse(stored)
    assert first.message.data == data
    assert first.message.message_id == str(sequence)
    assert first.message.publish_time.ToNanoseconds() == published_ns
