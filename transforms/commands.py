"""Commands: Pub/Sub messages to MQTT messages for devices, and what became of each.

    ParseCommands    lists of PubsubMessage -> EncodedMessages with CommandKeys, or lists of
                     CommandOutcome where there is one at once
    FrameOutcomes    lists of (CommandKey, PublishResult), or of CommandOutcome, -> messages for
                     the results topic

A repeat after a crash gives the same outcome or a stronger one (see schemas.messages.Outcome): a
command that was accepted and comes again too late is reported as expired.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from mqtt import outgoing
from mqtt.codec import ProtocolVersion
from schemas.errors import InvalidCommand, InvalidOutcome
from schemas.layout import Layout
from schemas.messages import COMMAND_ID_PROPERTY, Command, CommandOutcome, Outcome
from schemas.times import format_time
from transforms.lists import MessageList
from transforms.mqttio import EncodedMessages, PublishResult
from transforms.pubsubio import FramedMessages
from transforms.pubsubio.wire import attribute, framed

OUTCOMES = "outcomes"

CommandKey = tuple[str, str]
"""A command's device id and its own id."""

_OUTCOMES = {
    "accepted": Outcome.ACCEPTED,
    "no_subscriber": Outcome.NO_SUBSCRIBER,
    "rejected": Outcome.REJECTED,
}

_is_plain = re.compile(r"[\w.:~-]{1,128}", re.ASCII).fullmatch
"""Tells the ids that need no look: no wildcard, nothing that JSON escapes, a byte a character."""


class ParseCommands(beam.DoFn):
    """Pub/Sub messages to MQTT messages.

    Guarantee and ordering are those of its input; it keeps nothing. Input:
    ``MessageList[PubsubMessage]`` with the attributes of ``schemas.messages.Command``. Output:
    ``EncodedMessages`` with :data:`CommandKey`; tagged ``outcomes``:
    ``MessageList[CommandOutcome]`` of those that are no command, or whose time is over.

    Args:
      layout: the topics of commands and responses.
      protocol: the broker's.
      clock: gives the time; for tests.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        protocol: ProtocolVersion,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._layout = layout
        self._protocol = protocol
        self._clock = clock or _now
        self._invalid = Metrics.counter("commands", "invalid")
        self._expired = Metrics.counter("commands", "expired")

    def setup(self) -> None:
        """Makes the encoder, which keeps caches and is not pickled."""
        self._encode = CommandEncoder(self._layout, self._protocol).encode

    def process(self, element: MessageList[PubsubMessage]) -> Iterator[Any]:
        """Gives the commands' messages, and the outcomes of those that have none."""
        now = self._clock()
        commands = EncodedMessages(self._protocol)
        outcomes: MessageList[CommandOutcome] = MessageList()
        encode, add = self._encode, commands.add
        for message in element:
            try:
                add(*encode(message, now))
            except InvalidCommand as error:
                self._invalid.inc()
                outcomes.append(_invalid(message, str(error), now))
            except ExpiredCommand as error:
                self._expired.inc()
                outcomes.append(error.outcome)
        if commands:
            yield commands
        if outcomes:
            yield beam.pvalue.TaggedOutput(OUTCOMES, outcomes)


class ExpiredCommand(Exception):
    """A command whose time is over; ``outcome`` says so."""

    def __init__(self, command: Command, seconds_ago: float, now: datetime) -> None:
        reason = f"expired {seconds_ago:.0f} s before it was taken from the subscription"
        super().__init__(reason)
        self.outcome = CommandOutcome(
            command_id=command.command_id,
            device_id=command.device_id,
            outcome=Outcome.EXPIRED,
            reason=reason,
            time=now,
        )


class _Encoded(NamedTuple):
    """What commands that differ only in id and payload have in common."""

    topic: bytes
    properties: tuple[bytes, ...]
    """What stands around the command's id, wherever it occurs."""
    header_bytes: int
    """The packet's remaining length without the payload."""


class CommandEncoder:
    """Encodes commands as ``command_message(Command.from_pubsub(…))`` and the codec would, in a
    sixth of the time: what device, name, content type and time left decide is encoded once.
    """

    def __init__(self, layout: Layout, protocol: ProtocolVersion) -> None:
        self._layout = layout
        self._protocol = protocol
        self._common = lru_cache(maxsize=65_536)(self._encode_common)

    def encode(self, message: PubsubMessage, now: datetime) -> tuple[CommandKey, bytes, bytes]:
        """Returns the command's key, and the head and tail of its message (``mqtt.outgoing``).

        Raises:
          InvalidCommand: names the attribute.
          ExpiredCommand: its time is over.
        """
        attributes = message.attributes or {}
        get = attributes.get
        device_id = get("deviceId", "")
        command_id = get("commandId") or message.message_id
        expiry_seconds = None
        if "expiresAt" in attributes or not device_id or not _is_plain(command_id):
            expiry_seconds = _seconds_left(
                Command.from_pubsub(b"", attributes, message.message_id), now
            )
        encoded_id = command_id.encode()
        common = self._common(
            device_id,
            get("commandName") or get("subFolder") or "",
            get("contentType"),
            expiry_seconds,
            len(encoded_id),
        )
        payload = message.data or b""
        return (
            (device_id, command_id),
            outgoing.fixed_header(common.header_bytes + len(payload)) + common.topic,
            encoded_id.join(common.properties) + payload,
        )

    def _encode_common(
        self,
        device_id: str,
        name: str,
        content_type: str | None,
        expiry_seconds: int | None,
        id_bytes: int,
    ) -> _Encoded:
        """Encodes with two ids that have no byte in common, which shows where the id stands."""
        zero, one = (
            Command(
                device_id=device_id,
                command_id=digit * id_bytes,
                data=b"",
                name=name,
                content_type=content_type or None,
            )
            for digit in "01"
        )
        try:
            (head, zeros), (_, ones) = (
                outgoing.encoded(
                    command_message(command, self._layout, expiry_seconds), self._protocol
                )
                for command in (zero, one)
            )
        except ValueError as error:
            raise InvalidCommand(f"it is nothing that MQTT can carry: {error}") from None
        topic = outgoing.topic_field(head)
        properties = _pieces(zeros, ones, id_bytes)
        return _Encoded(topic, properties, len(topic) + 2 + len(zeros))


def command_message(
    command: Command, layout: Layout, expiry_seconds: int | None
) -> outgoing.Message:
    """Returns the message for the device."""
    device_id, command_id = command.device_id, command.command_id
    return outgoing.Message(
        topic=layout.command_topic(device_id, command.name),
        payload=command.data,
        expiry_seconds=expiry_seconds,
        content_type=command.content_type,
        response_topic=layout.response_topic(device_id, command_id),
        user_properties=((COMMAND_ID_PROPERTY, command_id),),
    )


class FrameOutcomes(beam.DoFn):
    """Outcomes as messages for the results topic.

    Input: ``MessageList[(CommandKey, PublishResult)]``, or ``MessageList[CommandOutcome]``.
    Output: FramedMessages. A CommandOutcome was checked for what an attribute can carry when it
    was built, and a command's ids were too.
    """

    def process(self, element: MessageList[Any]) -> Iterator[FramedMessages]:
        """Frames the list's outcomes."""
        if element and isinstance(element[0], CommandOutcome):
            yield FramedMessages(map(frame_outcome, element))
        else:
            now = _now()
            time = format_time(now).encode()
            yield FramedMessages(_frame_result(key, result, time, now) for key, result in element)


def outcome_of(key: CommandKey, result: PublishResult, time: datetime) -> CommandOutcome:
    """Returns what the broker's answer means for the command."""
    device_id, command_id = key
    return CommandOutcome(
        command_id=command_id,
        device_id=device_id,
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


def _frame_result(key: CommandKey, result: PublishResult, time: bytes, now: datetime) -> bytes:
    """Frames ``outcome_of(…)`` in a third of the time: all but id and time is encoded once."""
    device_id, command_id = key
    if not _is_plain(command_id):
        return frame_outcome(outcome_of(key, result, now))
    before, between, behind_time, end = _encode_result(device_id, result, len(command_id))
    encoded_id = command_id.encode()
    return b"".join((before, encoded_id, between, time, behind_time, encoded_id, end))


@lru_cache(maxsize=65_536)
def _encode_result(
    device_id: str, result: PublishResult, id_bytes: int
) -> tuple[bytes, bytes, bytes, bytes]:
    """Returns what stands around id, time and id again in a framed outcome."""
    time = datetime.min.replace(tzinfo=UTC)
    zeros, ones = (
        frame_outcome(outcome_of((device_id, digit * id_bytes), result, time)) for digit in "01"
    )
    before, middle, end = _pieces(zeros, ones, id_bytes)
    between, _, behind_time = middle.partition(format_time(time).encode())
    return before, between, behind_time, end


def _pieces(zeros: bytes, ones: bytes, size: int) -> tuple[bytes, ...]:
    """Returns what two texts share around the places, of ``size`` bytes, where they differ."""
    differing = [at for at, (zero, one) in enumerate(zip(zeros, ones, strict=True)) if zero != one]
    starts = differing[::size]
    return tuple(
        zeros[start:end]
        for start, end in zip(
            [0, *(start + size for start in starts)], [*starts, len(zeros)], strict=True
        )
    )


def _seconds_left(command: Command, now: datetime) -> int | None:
    left = command.seconds_left(now)
    if left is None:
        return None
    if left <= 0:
        raise ExpiredCommand(command, -left, now)
    return min(math.ceil(left), outgoing.LONGEST_EXPIRY_SECONDS)


def _invalid(message: PubsubMessage, reason: str, now: datetime) -> CommandOutcome:
    attributes: Mapping[str, str] = message.attributes or {}
    try:
        return CommandOutcome(
            command_id=attributes.get("commandId") or message.message_id,
            device_id=attributes.get("deviceId") or None,
            outcome=Outcome.INVALID,
            reason=reason,
            time=now,
        )
    except InvalidOutcome:
        # Its own id can't be repeated in an attribute; Pub/Sub's always can.
        return CommandOutcome(
            command_id=message.message_id, outcome=Outcome.INVALID, reason=reason, time=now
        )


def _now() -> datetime:
    return datetime.now(UTC)
