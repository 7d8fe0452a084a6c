"""What a run sees on its Pub/Sub topics, by subscriptions of its own."""

import threading
from collections import Counter
from collections.abc import Callable

import grpc

from localcloud.devices.journal import published_at
from localcloud.endpoints import (
    COMMANDS_TOPIC,
    DEAD_LETTERS_TOPIC,
    RESULTS_TOPIC,
    TELEMETRY_TOPIC,
)
from localcloud.pubsub.protobufs import Protobuf
from localcloud.run.latency import Latencies
from localcloud.subscriber import PubSub
from schemas.errors import InvalidOutcome
from schemas.messages import MESSAGE_ID_PROPERTY, CommandOutcome, Outcome, strongest

RECENT_COMMANDS = 5

SUBSCRIPTIONS = {
    "telemetry-run": TELEMETRY_TOPIC,
    "commands-run": COMMANDS_TOPIC,
    "command-results-run": RESULTS_TOPIC,
    "dead-letters-run": DEAD_LETTERS_TOPIC,
}


class TelemetryTap:
    """Counts the run's telemetry and how long it took to Pub/Sub.

    Latency: from the time of publishing that the device put into the message id to the publish
    time that Pub/Sub gave the message when it accepted it.
    """

    def __init__(self, run_id: str) -> None:
        self.messages = 0
        self.latencies = Latencies()
        self._prefix = f"{run_id}-"

    def take(self, message: Protobuf) -> None:
        """Count one message, if a device of this run published it."""
        message_id = message.attributes.get("messageId", "")
        if not message_id.startswith(self._prefix):
            return
        self.messages += 1
        if (published := published_at(message_id)) is not None:
            accepted = message.publish_time.seconds + message.publish_time.nanos / 1e9
            self.latencies.add((accepted - published) * 1000)


class CommandsTap:
    """Counts commands, distinct by their ids."""

    def __init__(self) -> None:
        self.sent: set[str] = set()

    def take(self, message: Protobuf) -> None:
        """Note one command."""
        self.sent.add(message.attributes.get("commandId") or message.message_id)


class ResultsTap:
    """Keeps the strongest outcome of each command."""

    def __init__(self) -> None:
        self.outcomes: dict[str, CommandOutcome] = {}

    def take(self, message: Protobuf) -> None:
        """Note one outcome."""
        outcome = CommandOutcome.from_json(message.data)
        known = self.outcomes.pop(outcome.command_id, outcome)
        self.outcomes[outcome.command_id] = strongest((known, outcome))

    @property
    def accepted(self) -> int:
        """How many commands the broker took for a device, answered ones among them."""
        taken = (Outcome.ACCEPTED, Outcome.ACKNOWLEDGED)
        return sum(each.outcome in taken for each in tuple(self.outcomes.values()))

    def counts(self) -> Counter[str]:
        """Return how many commands ended in which outcome."""
        return Counter(each.outcome.value for each in tuple(self.outcomes.values()))

    def recent(self) -> list[CommandOutcome]:
        """Return the last few outcomes, the latest first."""
        return list(self.outcomes.values())[: -RECENT_COMMANDS - 1 : -1]


class DeadLettersTap:
    """Keeps the ids of dead letters, distinct; the last reason is for the display."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.last_reason = ""

    def take(self, message: Protobuf) -> None:
        """Note one dead letter: by the id its device gave it, else by Pub/Sub's."""
        attributes = message.attributes
        # A message that never became telemetry still has the property that its device gave it.
        given = attributes.get("messageId") or attributes.get(MESSAGE_ID_PROPERTY)
        self.ids.add(given or message.message_id)
        self.last_reason = message.attributes.get("deadLetterReason", "")


class Puller:
    """A thread that takes what comes on a subscription until it is closed.

    An error of its own is kept in `error`, for the runner to raise.
    """

    def __init__(self, endpoint: str, subscription: str, take: Callable[[Protobuf], None]) -> None:
        self.error: Exception | None = None
        self._pubsub = PubSub(endpoint)
        self._stream = self._pubsub.stream(subscription)
        self._take = take
        self._thread = threading.Thread(target=self._run, name=f"pull {subscription}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stream.close()
        self._thread.join()
        self._pubsub.close()

    def _run(self) -> None:
        try:
            for messages in self._stream:
                for message in messages:
                    self._take(message)
        except (grpc.RpcError, InvalidOutcome) as error:
            self.error = error
