"""Send a command to a device through Pub/Sub and learn what became of it.

`mqttbeam send` and the run's own commands go this one way: the commands topic, the command
pipeline, the broker, and back by the results topic.
"""

import json
import math
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from localcloud.endpoints import COMMANDS_TOPIC, RESULTS_TOPIC
from localcloud.subscriber import PubSub
from schemas.errors import InvalidCommand
from schemas.messages import Command, CommandOutcome


class NoOutcome(Exception):
    """Nothing was heard of a command in time."""


def make_command(
    device_id: str, name: str, data: bytes, *, expires_in_seconds: float | None = None
) -> Command:
    """Return a command with an id of its own, to expire so many seconds from now.

    `data` must be JSON as RFC 8259 has it, which knows no NaN and no Infinity. Raises
    schemas.errors.InvalidCommand.
    """
    if not name:
        raise InvalidCommand("the command's name is empty: name it, as in `report`")
    try:
        json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        shown = data[:200].decode(errors="replace")
        raise InvalidCommand(f"{shown!r} is no JSON: {error}") from None
    expires_at = None
    if expires_in_seconds is not None:
        if not 0 < expires_in_seconds < math.inf:
            raise InvalidCommand(
                f"expires in {expires_in_seconds:g}: expected seconds, more than 0"
            )
        try:
            expires_at = datetime.now(UTC) + timedelta(seconds=expires_in_seconds)
        except OverflowError:
            raise InvalidCommand(
                f"expires in {expires_in_seconds:g} seconds: that is beyond the year 9999"
            ) from None
    return Command(
        device_id=device_id,
        command_id=secrets.token_hex(8),
        name=name,
        data=data,
        expires_at=expires_at,
        content_type="application/json",
    )


def send(pubsub: PubSub, command: Command) -> None:
    """Publish a command to the commands topic."""
    pubsub.publish(COMMANDS_TOPIC, command.data, command.attributes())


def send_and_wait(pubsub: PubSub, command: Command, *, timeout_seconds: float) -> CommandOutcome:
    """Publish a command and return the first that is said of it; raises NoOutcome."""
    only_this = f'attributes.commandId = "{command.command_id}"'
    with pubsub.temporary_subscription(
        RESULTS_TOPIC, what="send", message_filter=only_this
    ) as results:
        send(pubsub, command)
        stream = pubsub.stream(results, timeout_seconds=timeout_seconds)
        for messages in stream:
            for message in messages:
                stream.close()
                return CommandOutcome.from_json(message.data)
    raise NoOutcome(
        f"nothing was heard of command {command.command_id} to {command.device_id} "
        f"within {timeout_seconds:g} s; it may still be carried out"
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def outcome_line(outcome: CommandOutcome) -> str:
    """Say an outcome in one line."""
    explained: Mapping[str, str] = {
        "acknowledged": "the device answered",
        "accepted": "the broker took it for a device that subscribes",
        "no_subscriber": "the broker took it, but no device subscribes to this command",
        "expired": "its time was over before the broker took it",
        "rejected": "the broker refused it",
        "invalid": "it is no command",
    }
    words = explained[outcome.outcome.value]
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.outcome.value}: {words}{reason}"
