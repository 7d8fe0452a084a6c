"""Commands: Pub/Sub messages to MQTT messages for devices, and what became of each.

    ParseCommands    PubsubMessage -> (Command, mqtt.client.Message), or an outcome at once
    outcome_of       (Command, PublishResult) -> CommandOutcome
    outcome_message  CommandOutcome -> PubsubMessage for the results topic

A repeat after a crash gives the same outcome or a stronger one (see schemas.messages.Outcome): a
command that was accepted and comes again too late is reported as expired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from mqtt.client import Message
from schemas.errors import InvalidCommand, InvalidOutcome
from schemas.layout import Layout
from schemas.messages import COMMAND_ID_PROPERTY, Command, CommandOutcome, Outcome
from transforms.mqttio import PublishResult

OUTCOMES = "outcomes"

_OUTCOMES = {
    "accepted": Outcome.ACCEPTED,
    "no_subscriber": Outcome.NO_SUBSCRIBER,
    "rejected": Outcome.REJECTED,
}


class ParseCommands(beam.DoFn):
    """Pub/Sub messages to MQTT messages.

    Guarantee and ordering are those of its input; it keeps nothing. Input: PubsubMessage with the
    attributes of ``schemas.messages.Command``. Output: ``(Command, mqtt.client.Message)``; tagged
    ``outcomes``: CommandOutcome of those that are no command, or whose time is over.

    Args:
      layout: the topics of commands and responses.
      clock: gives the time; for tests.
    """

    def __init__(self, layout: Layout, *, clock: Callable[[], datetime] | None = None) -> None:
        self._layout = layout
        self._clock = clock or _now
        self._invalid = Metrics.counter("commands", "invalid")
        self._expired = Metrics.counter("commands", "expired")

    def process(self, element: PubsubMessage) -> Iterator[Any]:
        """Gives the command's message, or its outcome where it has none."""
        attributes = element.attributes or {}
        now = self._clock()
        try:
            command = Command.from_pubsub(element.data, attributes, element.message_id)
            topic = self._layout.command_topic(command.device_id, command.name)
            response_topic = self._layout.response_topic(command.device_id, command.command_id)
        except InvalidCommand as error:
            self._invalid.inc()
            yield beam.pvalue.TaggedOutput(OUTCOMES, _invalid(element, attributes, str(error), now))
            return
        left = command.seconds_left(now)
        if left is not None and left <= 0:
            self._expired.inc()
            yield beam.pvalue.TaggedOutput(
                OUTCOMES,
                CommandOutcome(
                    command_id=command.command_id,
                    device_id=command.device_id,
                    outcome=Outcome.EXPIRED,
                    reason=f"expired {-left:.0f} s before it was taken from the subscription",
                    time=now,
                ),
            )
            return
        yield (
            command,
            Message(
                topic=topic,
                payload=command.data,
                expiry_seconds=None if left is None else math.ceil(left),
                content_type=command.content_type,
                response_topic=response_topic,
                user_properties=[(COMMAND_ID_PROPERTY, command.command_id)],
            ),
        )


def outcome_of(element: tuple[Command, PublishResult]) -> CommandOutcome:
    """Returns what the broker's answer means for the command."""
    command, result = element
    return CommandOutcome(
        command_id=command.command_id,
        device_id=command.device_id,
        outcome=_OUTCOMES[result.outcome],
        reason=result.reason or None,
        reason_code=result.reason_code,
        time=_now(),
    )


def outcome_message(outcome: CommandOutcome) -> PubsubMessage:
    """Returns the outcome as a message for the results topic."""
    return PubsubMessage(outcome.to_json(), outcome.attributes())


def _invalid(
    element: PubsubMessage, attributes: dict[str, str], reason: str, now: datetime
) -> CommandOutcome:
    try:
        return CommandOutcome(
            command_id=attributes.get("commandId") or element.message_id,
            device_id=attributes.get("deviceId") or None,
            outcome=Outcome.INVALID,
            reason=reason,
            time=now,
        )
    except InvalidOutcome:
        # Its own id can't be repeated in an attribute; Pub/Sub's always can.
        return CommandOutcome(
            command_id=element.message_id, outcome=Outcome.INVALID, reason=reason, time=now
        )


def _now() -> datetime:
    return datetime.now(UTC)
