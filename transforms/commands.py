"""Commands: Pub/Sub messages to MQTT messages for devices, and what became of each.

    ParseCommands    lists of PubsubMessage -> lists of (Command, mqtt.client.Message), or of
                     CommandOutcome where there is one at once
    FrameOutcomes    lists of (Command, PublishResult), or of CommandOutcome, -> messages for the
                     results topic

A repeat after a crash gives the same outcome or a stronger one (see schemas.messages.Outcome): a
command that was accepted and comes again too late is reported as expired.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from mqtt.client import Message
from schemas.errors import InvalidCommand, InvalidOutcome
from schemas.layout import Layout
from schemas.messages import COMMAND_ID_PROPERTY, Command, CommandOutcome, Outcome
from schemas.times import format_time
from transforms.lists import MessageList
from transforms.mqttio import PublishResult
from transforms.pubsubio import FramedMessages
from transforms.pubsubio.wire import attribute, framed

OUTCOMES = "outcomes"

_quoted = json.JSONEncoder(ensure_ascii=False).encode

_OUTCOMES = {
    "accepted": Outcome.ACCEPTED,
    "no_subscriber": Outcome.NO_SUBSCRIBER,
    "rejected": Outcome.REJECTED,
}


class ParseCommands(beam.DoFn):
    """Pub/Sub messages to MQTT messages.

    Guarantee and ordering are those of its input; it keeps nothing. Input:
    ``MessageList[PubsubMessage]`` with the attributes of ``schemas.messages.Command``. Output:
    ``MessageList[(Command, mqtt.client.Message)]``; tagged ``outcomes``:
    ``MessageList[CommandOutcome]`` of those that are no command, or whose time is over.

    Args:
      layout: the topics of commands and responses.
      clock: gives the time; for tests.
    """

    def __init__(self, layout: Layout, *, clock: Callable[[], datetime] | None = None) -> None:
        self._layout = layout
        self._clock = clock or _now
        self._invalid = Metrics.counter("commands", "invalid")
        self._expired = Metrics.counter("commands", "expired")

    def process(self, element: MessageList[PubsubMessage]) -> Iterator[Any]:
        """Gives the commands' messages, and the outcomes of those that have none."""
        now = self._clock()
        commands: MessageList[tuple[Command, Message]] = MessageList()
        outcomes: MessageList[CommandOutcome] = MessageList()
        for message in element:
            attributes = message.attributes or {}
            try:
                command = Command.from_pubsub(message.data, attributes, message.message_id)
            except InvalidCommand as error:
                self._invalid.inc()
                outcomes.append(_invalid(message, attributes, str(error), now))
                continue
            left = command.seconds_left(now)
            if left is not None and left <= 0:
                self._expired.inc()
                outcomes.append(_expired(command, -left, now))
            else:
                commands.append((command, self._message(command, left)))
        if commands:
            yield commands
        if outcomes:
            yield beam.pvalue.TaggedOutput(OUTCOMES, outcomes)

    def _message(self, command: Command, seconds_left: float | None) -> Message:
        device_id, command_id = command.device_id, command.command_id
        return Message(
            topic=self._layout.command_topic(device_id, command.name),
            payload=command.data,
            expiry_seconds=None if seconds_left is None else math.ceil(seconds_left),
            content_type=command.content_type,
            response_topic=self._layout.response_topic(device_id, command_id),
            user_properties=((COMMAND_ID_PROPERTY, command_id),),
        )


class FrameOutcomes(beam.DoFn):
    """Outcomes as messages for the results topic.

    Input: ``MessageList[(Command, PublishResult)]``, or ``MessageList[CommandOutcome]``. Output:
    FramedMessages. A CommandOutcome was checked for what an attribute can carry when it was
    built, and a Command's ids were too.
    """

    def process(self, element: MessageList[Any]) -> Iterator[FramedMessages]:
        """Frames the list's outcomes."""
        now = _now()
        if element and isinstance(element[0], CommandOutcome):
            yield FramedMessages(map(frame_outcome, element))
        else:
            time = _quoted(format_time(now))
            yield FramedMessages(
                _frame_result(command, result, time) for command, result in element
            )


def outcome_of(command: Command, result: PublishResult, time: datetime) -> CommandOutcome:
    """Returns what the broker's answer means for the command."""
    return CommandOutcome(
        command_id=command.command_id,
        device_id=command.device_id,
        outcome=_OUTCOMES[result.outcome],
        reason=result.reason or None,
        reason_code=result.reason_code,
        time=time,
    )


def frame_outcome(outcome: CommandOutcome) -> bytes:
    """Returns the outcome, framed for a publish request."""
    return framed(
        outcome.to_json(),
        b"".join(attribute(name, value) for name, value in outcome.attributes().items()),
    )


def _frame_result(command: Command, result: PublishResult, time: str) -> bytes:
    """Frames ``outcome_of(command, result, …)`` in a third of the time: what the device and the
    result decide is encoded once.
    """
    attributes, tail = _of_result(command.device_id, result)
    command_id = command.command_id
    text = f'{{"commandId":{_quoted(command_id)},"outcome":"{_OUTCOMES[result.outcome].value}"'
    return framed(
        f'{text},"time":{time}{tail}'.encode(),
        attribute("commandId", command_id) + attributes,
    )


@lru_cache(maxsize=65_536)
def _of_result(device_id: str, result: PublishResult) -> tuple[bytes, str]:
    """Returns the attributes and the end of the JSON that device and result decide."""
    outcome = outcome_of(
        Command(device_id=device_id, command_id="-", data=b""),
        result,
        datetime.min.replace(tzinfo=UTC),
    )
    attributes = outcome.attributes()
    del attributes["commandId"]
    encoded = b"".join(attribute(name, value) for name, value in attributes.items())
    text = outcome.to_json().decode()
    time = _quoted(format_time(outcome.time))
    return encoded, text[text.index(time) + len(time) :]


def _expired(command: Command, seconds_ago: float, now: datetime) -> CommandOutcome:
    return CommandOutcome(
        command_id=command.command_id,
        device_id=command.device_id,
        outcome=Outcome.EXPIRED,
        reason=f"expired {seconds_ago:.0f} s before it was taken from the subscription",
        time=now,
    )


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
