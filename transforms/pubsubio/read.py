"""``ReadFromPubSub``: a subscription as an unbounded PCollection, on every runner.

Guarantee
  At least once. On Dataflow this is Beam's own source, which the service replaces by its own.
  Elsewhere messages are acknowledged when the bundle that read them is finalized, on Flink one
  checkpoint later, so that what a later step holds of them is in a checkpoint; so put the
  first durable write into the read's own stage wherever the runner's memory is not durable. Or,
  with ``held``, when who took a list says so, whatever becomes of the bundle: for writes that
  take longer than a bundle.
Unit of parallelism
  A streaming pull, one a worker process; the service shares a subscription out among processes.
Ordering
  Of one ordering key, where the subscription has message ordering, within a bundle; else none.
Watermark
  The publish time of the oldest message waiting here; the clock when none does. What still waits
  in the subscription is not seen: a backlog counts as late.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NoReturn

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.io.gcp.pubsub import ReadFromPubSub as BeamReadFromPubSub
from apache_beam.io.unbounded_source import UnboundedSource
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.held_back import finalizes_early
from transforms.inbox import InboxMark, InboxMarkCoder, InboxReader, ReadInbox
from transforms.lists import MessageList
from transforms.pubsubio.channel import open_channel
from transforms.pubsubio.pull import PulledBatch, Puller
from transforms.shared import Shared

_LIST_MESSAGES = 500
_SPARE_WAIT_SECONDS = 0.25
_PUBLISH_SECONDS = attrgetter("message.publish_time.seconds")


@dataclass(frozen=True, kw_only=True)
class PullSettings:
    """How one subscription is pulled; see ReadFromPubSub."""

    subscription: str
    most_messages: int
    most_bytes: int
    lease_seconds: int
    longest_seconds: float
    start_timeout_seconds: float

    def __post_init__(self) -> None:
        parts = self.subscription.split("/")
        if len(parts) != 4 or parts[0] != "projects" or parts[2] != "subscriptions":
            raise ValueError(
                f"subscription {self.subscription!r}: must be"
                " projects/PROJECT/subscriptions/SUBSCRIPTION"
            )
        if not 10 <= self.lease_seconds <= 600:
            raise ValueError(f"lease_seconds: must be 10 to 600, got {self.lease_seconds}")
        if self.most_messages < 1 or self.most_bytes < 1:
            raise ValueError("most_messages and most_bytes: must be 1 or more")


class ReadFromPubSub(beam.PTransform):
    """Reads a subscription; see the module for guarantee, parallelism and ordering.

    Args:
      subscription: ``projects/P/subscriptions/S``.
      most_messages, most_bytes: what a worker process may hold unacknowledged.
      lease_seconds: length of a lease, extended while the message is here; after a crash the
        messages that were here come again after so long.
      longest_seconds: after so long unacknowledged a message is left to be delivered again.
      start_timeout_seconds: how long the first connection may take before the pipeline fails.
      lists: whether to give ``MessageList[PubsubMessage]`` as read, stamped with the publish time
        of the oldest, which costs a fraction of what elements cost (our own source gives
        :class:`ReceivedMessage`); on Dataflow a list has one.
      spare: a second read of a subscription that this pipeline reads already, with steps of its
        own behind it: it takes part while there is a backlog, so that one bundle works while the
        other waits for its last write. Without ordering keys only: where there are some it rests.
      held: whether to give :class:`HeldMessages`, which are acknowledged by hand, in this process
        and so in the read's own stage. Not on Dataflow, whose source knows finalization only.
      All settings but the first and lists are for our own source; Dataflow's has none.

    Output: PCollection of PubsubMessage, with attributes, message id, publish time, ordering key,
    or of lists of them, or of HeldMessages.

    Raises:
      ValueError: when built, for settings that can't work.
      PubSubError: from the worker, if the subscription does not exist or may not be read.
    """

    def __init__(
        self,
        subscription: str,
        *,
        most_messages: int = 30_000,
        most_bytes: int = 64 * 1024 * 1024,
        lease_seconds: int = 20,
        longest_seconds: float = 3_600.0,
        start_timeout_seconds: float = 60.0,
        lists: bool = False,
        spare: bool = False,
        held: bool = False,
    ) -> None:
        super().__init__()
        if held and spare:
            raise ValueError("held and spare: one of them, as what is held has no second reader")
        self._lists = lists or held
        self._spare = spare
        self._held = held
        self._settings = PullSettings(
            subscription=subscription,
            most_messages=most_messages,
            most_bytes=most_bytes,
            lease_seconds=lease_seconds,
            longest_seconds=longest_seconds,
            start_timeout_seconds=start_timeout_seconds,
        )

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Builds Dataflow's source or ours."""
        subscription = self._settings.subscription
        runner = pbegin.pipeline.options.view_as(StandardOptions).runner or ""
        if "Dataflow" in runner:
            if self._held:
                raise ValueError("held: Dataflow's own source acknowledges when it finalizes")
            messages = pbegin | "Read" >> BeamReadFromPubSub(
                subscription=subscription, with_attributes=True
            )
            if self._lists:
                return messages | "Lists" >> beam.Map(_list_of_one).with_output_types(MessageList)
            return messages
        lists = (
            pbegin
            | "Subscription"
            >> beam.Create([PubSubSubscription(subscription, spare=self._spare, held=self._held)])
            | "Read"
            >> beam.ParDo(
                ReadInbox(
                    _register,
                    self._settings,
                    hold_back=finalizes_early(pbegin.pipeline.options),
                )
            ).with_output_types(MessageList)
        )
        if self._lists:
            return lists
        return lists | "Messages" >> beam.ParDo(_TakeApart()).with_output_types(PubsubMessage)


def _list_of_one(message: PubsubMessage) -> MessageList[PubsubMessage]:
    return MessageList([message])


class PubSubSubscription(UnboundedSource):
    """A subscription, by name.

    Pickled into the restriction: its module path and its attribute are a contract.
    """

    # What an earlier version pickled has no such attribute.
    spare = False
    held = False

    def __init__(self, subscription: str, *, spare: bool = False, held: bool = False) -> None:
        self.subscription = subscription
        self.spare = spare
        self.held = held

    def split(self, desired_num_splits: int, options: Any = None) -> Iterable[PubSubSubscription]:
        """Returns itself: one streaming pull fills a worker."""
        return [self]

    def create_reader(
        self, options: Any, checkpoint_mark: InboxMark[PulledBatch] | None
    ) -> _PubSubReader:
        """Returns a reader on this process's pull. Raises LookupError without settings."""
        reader = _HeldReader if self.held else _SpareReader if self.spare else _PubSubReader
        return reader(_puller(self.subscription), metrics="pubsub", most_messages=_LIST_MESSAGES)

    def get_checkpoint_mark_coder(self) -> InboxMarkCoder:
        """The coder of marks."""
        return InboxMarkCoder()


class ReceivedMessage(PubsubMessage):
    """A PubsubMessage whose fields are taken from the protobuf when they are asked for: few
    readers want all of them, and making them costs more than what most do with them. Read-only.
    """

    def __init__(self, received: Any) -> None:
        # The fields are properties here; the parent's constructor would set them.
        self._message = received.message

    @property
    def data(self) -> bytes:
        """The payload."""
        data: bytes = self._message.data
        return data

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes, a dict of one's own."""
        attributes = self._message.attributes
        return {key: attributes[key] for key in attributes}  # dict() takes six times as long

    @property
    def message_id(self) -> str:
        """The service's id."""
        message_id: str = self._message.message_id
        return message_id

    @property
    def publish_time(self) -> datetime:
        """When the service took it, in UTC."""
        published = self._message.publish_time
        return datetime.fromtimestamp(published.seconds + published.nanos / 1e9, UTC)

    @property
    def ordering_key(self) -> str:
        """The ordering key; empty without."""
        key: str = self._message.ordering_key
        return key

    def whole(self) -> PubsubMessage:
        """Returns a plain PubsubMessage."""
        return PubsubMessage(*self._fields())

    def __reduce__(self) -> tuple[Any, ...]:
        return PubsubMessage, self._fields()

    def _fields(self) -> tuple[Any, ...]:
        return self.data, self.attributes, self.message_id, self.publish_time, self.ordering_key


class HeldMessages(MessageList[ReceivedMessage]):
    """Messages that stay leased until :meth:`acknowledge` or :meth:`give_back`, in the process
    that read them. The lease is extended for the read's ``longest_seconds``.
    """

    def __init__(self, puller: Puller, batch: PulledBatch) -> None:
        super().__init__(map(ReceivedMessage, batch.messages))
        self._puller = puller
        self._batch = batch

    def acknowledge(self) -> None:
        """Says that they are stored elsewhere."""
        self._puller.acknowledge([self._batch])

    def give_back(self) -> None:
        """Queues them again, unless they have been acknowledged or given back."""
        self._puller.give_back([self._batch])

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "HeldMessages can be acknowledged in the process that read them only: what takes them"
            " must be in the read's own stage, with nothing between that a runner may break up"
        )


class _PubSubReader(InboxReader[PulledBatch]):
    """Reads a streaming pull."""

    def __init__(self, puller: Puller, **settings: Any) -> None:
        super().__init__(puller, **settings)
        self._puller = puller

    def get_current(self) -> MessageList[PubsubMessage]:
        assert self.current is not None, "get_current without a successful advance"
        return MessageList(map(ReceivedMessage, self.current.messages))

    def get_current_timestamp(self) -> Timestamp:
        assert self.current is not None, "get_current_timestamp without a successful advance"
        # Whole seconds: a lower bound is enough for a list, and cheap.
        return Timestamp(min(map(_PUBLISH_SECONDS, self.current.messages)))


class _HeldReader(_PubSubReader):
    """Leaves the acknowledgement to who took the lists."""

    def get_current(self) -> HeldMessages:
        assert self.current is not None, "get_current without a successful advance"
        return HeldMessages(self._puller, self.current)

    def get_checkpoint_mark(self) -> InboxMark[PulledBatch]:
        super().get_checkpoint_mark()
        return InboxMark()


class _SpareReader(_PubSubReader):
    """Takes part while there is a backlog."""

    wait_seconds = _SPARE_WAIT_SECONDS

    def take(self, maximum: int, timeout_seconds: float) -> PulledBatch | None:
        return self._puller.take_spare(maximum, timeout_seconds)


class _TakeApart(beam.DoFn):
    """Lists of messages to messages, each at its publish time."""

    def process(self, element: MessageList[ReceivedMessage]) -> Iterator[TimestampedValue]:
        for received in element:
            message = received.whole()
            yield TimestampedValue(message, Timestamp(message.publish_time.timestamp()))


_LOCK = threading.Lock()
_SETTINGS: dict[str, PullSettings] = {}
_OPEN: Shared[str, Puller] = Shared(
    lambda puller, settle_seconds: puller.close(settle_seconds=settle_seconds)
)


def _register(settings: PullSettings) -> None:
    with _LOCK:
        _SETTINGS[settings.subscription] = settings


def _puller(subscription: str) -> Puller:
    with _LOCK:
        settings = _SETTINGS.get(subscription)
    if settings is None:
        raise LookupError(
            f"{subscription} is not registered in this process: read PubSubSubscription"
            " through ReadFromPubSub, not through beam.io.Read"
        )
    return _OPEN.get(
        subscription,
        lambda: Puller(
            open_channel(),
            subscription,
            most_messages=settings.most_messages,
            most_bytes=settings.most_bytes,
            lease_seconds=settings.lease_seconds,
            longest_seconds=settings.longest_seconds,
            start_timeout_seconds=settings.start_timeout_seconds,
        ),
    )
