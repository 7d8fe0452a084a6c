from datetime import UTC, datetime

from localcloud.pubsub.protobufs import Protobuf, PubsubMessage
from localcloud.run.taps import CommandsTap, DeadLettersTap, ResultsTap, TelemetryTap
from schemas.messages import CommandOutcome, Outcome


def _telemetry(message_id: str, *, accepted_at: float) -> Protobuf:
    message = PubsubMessage(attributes={"messageId": message_id})
    message.publish_time.FromNanoseconds(round(accepted_at * 1e9))
    return message


def test_latency_is_from_the_device_s_publish_to_pubsub_s_acceptance() -> None:
    tap = TelemetryTap("run")
    tap.take(_telemetry(f"run-1-{1_774_000_000_000_000:x}", accepted_at=1_774_000_000.020))
    assert tap.messages == 1
    assert tap.latencies.percentile(50) is not None
    assert abs((tap.latencies.percentile(50) or 0) - 20) < 0.5


def test_messages_of_other_runs_are_not_counted() -> None:
    tap = TelemetryTap("run")
    tap.take(_telemetry("other-1-ff", accepted_at=1.0))
    tap.take(PubsubMessage(data=b"x"))
    assert tap.messages == 0


def test_a_repeated_command_counts_once() -> None:
    tap = CommandsTap()
    for _ in range(2):
        tap.take(PubsubMessage(message_id="1", attributes={"commandId": "c"}))
    tap.take(PubsubMessage(message_id="2"))
    assert tap.sent == {"c", "2"}


def _outcome(command_id: str, outcome: Outcome) -> Protobuf:
    said = CommandOutcome(command_id=command_id, outcome=outcome, time=datetime.now(UTC))
    return PubsubMessage(data=said.to_json())


def test_the_strongest_outcome_of_a_command_holds() -> None:
    tap = ResultsTap()
    tap.take(_outcome("a", Outcome.ACCEPTED))
    tap.take(_outcome("a", Outcome.NO_SUBSCRIBER))
    tap.take(_outcome("b", Outcome.INVALID))
    assert tap.counts() == {"accepted": 1, "invalid": 1}
    assert tap.accepted == 1
    assert [each.command_id for each in tap.recent()] == ["b", "a"]


def test_a_dead_letter_is_known_by_its_device_s_message_id() -> None:
    tap = DeadLettersTap()
    reason = {"deadLetterReason": "no JSON"}
    for _ in range(2):
        tap.take(PubsubMessage(message_id="1", attributes={"messageId": "run-1-a"} | reason))
    tap.take(PubsubMessage(message_id="2", attributes=reason))
    tap.take(PubsubMessage(message_id="3", attributes={"message-id": "run-2-b"} | reason))
    assert tap.ids == {"run-1-a", "2", "run-2-b"}
    assert tap.last_reason == "no JSON"
