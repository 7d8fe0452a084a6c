"""The run's own client, on the real local Pub/Sub."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from localcloud import subscriber
from localcloud.pubsub import LocalPubSub
from localcloud.subscriber import PubSub


@pytest.fixture
def pubsub() -> Iterator[PubSub]:
    with LocalPubSub() as server, PubSub(server.endpoint) as client:
        client.create_all(["numbers"], {"numbers-run": "numbers"})
        yield client


def test_what_is_published_comes_once_and_is_acknowledged(pubsub: PubSub) -> None:
    for number in range(20):
        pubsub.publish("numbers", str(number).encode(), {"parity": str(number % 2)})
    stream = pubsub.stream("numbers-run", timeout_seconds=20)
    seen: list[int] = []
    for messages in stream:
        seen += [int(message.data) for message in messages]
        if len(seen) == 20:
            stream.close()
    assert sorted(seen) == list(range(20))


def test_what_was_taken_does_not_come_again_when_its_lease_is_over(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "ACK_DEADLINE_SECONDS", 10)  # the shortest there is
    pubsub.publish("numbers", b"1", {})
    stream = pubsub.stream("numbers-run", timeout_seconds=12)
    assert [message.data for messages in stream for message in messages] == [b"1"]


def test_a_stream_ends_when_another_thread_closes_it(pubsub: PubSub) -> None:
    stream = pubsub.stream("numbers-run")
    ended = threading.Event()

    def read() -> None:
        for _ in stream:
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    stream.close()
    assert ended.wait(timeout=20)


def test_a_temporary_subscription_is_gone_afterwards(pubsub: PubSub) -> None:
    with pubsub.temporary_subscription("numbers", what="tail") as name:
        assert name.startswith("numbers-tail-")
    with pytest.raises(grpc.RpcError) as told:
        list(pubsub.stream(name, timeout_seconds=20))
    assert told.value.code() is grpc.StatusCode.NOT_FOUND


def test_creating_what_is_there_is_fine(pubsub: PubSub) -> None:
    pubsub.create_all(["numbers"], {"numbers-run": "numbers"})
