"""Commands over the real local Pub/Sub, with the test in the command pipeline's place."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from localcloud.commanding import NoOutcome, make_command, outcome_line, send_and_wait
from localcloud.endpoints import RESULTS_TOPIC, TOPICS
from localcloud.pubsub import LocalPubSub
from localcloud.subscriber import PubSub
from schemas.errors import InvalidCommand
from schemas.messages import Command, CommandOutcome, Outcome


@pytest.fixture
def pubsub() -> Iterator[PubSub]:
    with LocalPubSub() as server, PubSub(server.endpoint) as client:
        client.create_all(TOPICS, {"commands-mqtt": "commands"})
        yield client


def _answer_one(pubsub: PubSub, outcome: Outcome) -> None:
    stream = pubsub.stream("commands-mqtt", timeout_seconds=20)
    for message in next(iter(stream)):
        command = Command.from_pubsub(message.data, dict(message.attributes), message.message_id)
        said = CommandOutcome(
            command_id=command.command_id,
            device_id=command.device_id,
            outcome=outcome,
            time=datetime.now(UTC),
        )
        pubsub.publish(RESULTS_TOPIC, said.to_json(), said.attributes())
    stream.close()


def test_the_outcome_of_this_very_command_is_returned(pubsub: PubSub) -> None:
    other = CommandOutcome(command_id="other", outcome=Outcome.INVALID, time=datetime.now(UTC))
    pubsub.publish(RESULTS_TOPIC, other.to_json(), other.attributes())
    pipeline = threading.Thread(target=_answer_one, args=(pubsub, Outcome.ACCEPTED))
    pipeline.start()
    command = make_command("meter-1", "report", b"{}")
    outcome = send_and_wait(pubsub, command, timeout_seconds=20)
    pipeline.join()
    assert outcome.command_id == command.command_id
    assert outcome_line(outcome).startswith("accepted: the broker took it")


def test_silence_is_told_and_leaves_no_subscription(pubsub: PubSub) -> None:
    with pytest.raises(NoOutcome, match=r"nothing was heard of command \w+ to meter-1 within 0.1"):
        send_and_wait(pubsub, make_command("meter-1", "report", b"{}"), timeout_seconds=0.1)


def test_a_device_that_no_topic_can_name_is_refused() -> None:
    with pytest.raises(InvalidCommand, match=r"'\+'"):
        make_command("meter/+", "report", b"{}")


@pytest.mark.parametrize("data", [b"[" * 100_000, b"{", b"NaN"])
def test_what_is_no_json_is_refused_in_a_few_words(data: bytes) -> None:
    with pytest.raises(InvalidCommand, match="is no JSON") as refused:
        make_command("meter-1", "report", data)
    assert len(str(refused.value)) < 500


def test_every_outcome_has_its_words() -> None:
    for outcome in Outcome:
        said = CommandOutcome(
            command_id="c", outcome=outcome, time=datetime.now(UTC), reason="because"
        )
        assert outcome_line(said).startswith(f"{outcome.value}: ")
        assert outcome_line(said).endswith("(because)")
