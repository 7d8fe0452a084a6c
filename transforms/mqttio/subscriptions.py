"""The subscribed connections of this worker process, one a shard, found by name.

A source names its shard and nothing more; what the name means (addresses, filters, limits) is
registered by the DoFn that reads it, which belongs to the job graph and so follows an update of
the job where the source, kept in the restriction, does not.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from mqtt.client import LeavingSubscriber, Subscriber
from mqtt.errors import SessionTakenOver
from mqtt.topics import TopicFilter
from transforms.mqttio.settings import BrokerSettings
from transforms.shared import Shared


def check_client_id(client_id: str) -> str:
    """Returns the prefix of the shards' client identifiers. Raises ValueError for a bad one."""
    if not client_id or set(client_id) & set("/+#$\0 "):
        raise ValueError(
            f"client_id {client_id!r}: must be the same at every start, not empty, and without"
            " '/', '+', '#', '$' and spaces, as it names the shared subscription too"
        )
    return client_id


def check_filters(filters: Sequence[TopicFilter]) -> None:
    """Raises ValueError for filters that can't be subscribed to together."""
    if not filters:
        raise ValueError("filters: at least one topic filter is needed")
    for item in filters:
        if item.share is not None:
            raise ValueError(
                f"topic filter {str(item)!r}: give it without $share/…; shards make it shared"
            )
    for item, other in itertools.combinations(filters, 2):
        if item.overlaps(other):
            raise ValueError(
                f"topic filters {str(item)!r} and {str(other)!r} overlap: brokers would deliver"
                " some messages twice"
            )


@dataclass(frozen=True, kw_only=True)
class SubscriptionSettings:
    """What one ``ReadFromMqtt`` subscribes to, and how.

    Attributes:
      broker: how to reach it.
      client_id: prefix of the shards' client identifiers, and the share name.
      filters: topic filters, without ``$share``.
      shards: connections that share the subscription.
      shards_before: how many did in an earlier run, where they were more: those that go are
        emptied and their sessions ended.
      shared: whether ``$share`` is used; must be so with several shards.
      session_expiry_seconds: how long the broker keeps messages for a shard that is away.
      receive_maximum: messages a shard holds unacknowledged.
      unacked_seconds: how long a message may stay unacknowledged before the connection is
        reopened so that the broker sends it again.
      batch_messages: most messages read at once.
      watermark_lag_seconds: how far the watermark stays behind the receipt.
    """

    broker: BrokerSettings
    client_id: str
    filters: tuple[TopicFilter, ...]
    shards: int = 1
    shards_before: int | None = None
    shared: bool = False
    session_expiry_seconds: int = 86_400
    receive_maximum: int = 30_000
    unacked_seconds: float = 600.0
    batch_messages: int = 500
    watermark_lag_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_client_id(self.client_id)
        check_filters(self.filters)
        if self.shards < 1:
            raise ValueError(f"shards: must be 1 or more, got {self.shards}")
        if self.shards_before is not None and self.shards_before <= self.shards:
            raise ValueError(
                f"shards_before: must be more than the {self.shards} shards that there are now,"
                f" got {self.shards_before}; it is for the start after which there are fewer"
            )
        if self.shards > 1 and not self.shared:
            raise ValueError("shards: more than one needs a shared subscription")
        if self.session_expiry_seconds < 1:
            raise ValueError("session_expiry_seconds: 0 would lose what arrives while we are away")
        if self.batch_messages < 1:
            raise ValueError(f"batch_messages: must be 1 or more, got {self.batch_messages}")

    @property
    def all_shards(self) -> int:
        """How many are read: those that stay and those that go."""
        return self.shards_before or self.shards

    def shard_client_id(self, shard: int) -> str:
        """The client identifier of a shard: the same at every start."""
        return f"{self.client_id}-{shard}"

    def subscriber(self, shard: int) -> Subscriber:
        """Opens a shard's connection; it connects in its own thread.

        A shard beyond those that there are now, of an earlier run or of the job that this one
        updates, is emptied and ended.
        """
        plain = self.filters
        shared = tuple(TopicFilter(item.pattern, share=self.client_id) for item in self.filters)
        connection = self.broker.connection(
            self.shard_client_id(shard),
            session_expiry_seconds=self.session_expiry_seconds,
            receive_maximum=self.receive_maximum,
        )
        if shard >= self.shards:
            return LeavingSubscriber(
                connection,
                (*shared, *plain),
                unacked_seconds=self.unacked_seconds,
                start_timeout_seconds=self.broker.start_timeout_seconds,
            )
        return Subscriber(
            connection,
            shared if self.shared else plain,
            # Whoever changes from one shard to several would else be sent everything twice.
            stale_filters=plain if self.shared else shared,
            unacked_seconds=self.unacked_seconds,
            start_timeout_seconds=self.broker.start_timeout_seconds,
        )


_TAKEN_OVER = 0x8E
_RIVALRY = 3
"""Take-overs after which the client that came second is known. Their pauses grow, and after a
fourth the second might have held on for long enough to be taken for the first.
"""
_LOCK = threading.Lock()
_SETTINGS: dict[str, SubscriptionSettings] = {}
_OPEN: Shared[tuple[str, int], tuple[SubscriptionSettings, Subscriber]] = Shared(
    lambda found, settle_seconds: found[1].close(settle_seconds=settle_seconds)
)


def register(settings: SubscriptionSettings) -> None:
    """Says what ``settings.client_id`` means in this process."""
    with _LOCK:
        _SETTINGS[settings.client_id] = settings


def subscription(client_id: str, shard: int) -> tuple[SubscriptionSettings, Subscriber]:
    """Returns the shard's settings and connection, opened at first use.

    Raises:
      LookupError: nobody registered ``client_id``.
      SecretError: a certificate can't be read.
    """
    with _LOCK:
        settings = _SETTINGS.get(client_id)
    if settings is None:
        raise LookupError(
            f"no subscription is registered for client id {client_id!r} in this process:"
            " read MqttShard through ReadFromMqtt, not through beam.io.Read"
        )
    return _OPEN.get(
        (client_id, shard),
        lambda: (settings, settings.subscriber(shard)),
        # With other settings it is another pipeline's, or an updated job's, of the same client id.
        keep=lambda found: found[0] == settings,
    )


def check_rivals() -> None:
    """For a process that runs the pipeline alone: on a cluster a shard may well be taken over, by
    the worker to which it moved.

    Raises:
      SessionTakenOver: another client took a shard's connection again and again, and had it before
        we came.
    """
    for settings, subscriber in _OPEN.values():
        link = subscriber.link
        if link.usurped >= _RIVALRY:
            raise SessionTakenOver(
                f"another client was connected as {link.settings.client_id!r} before this one came,"
                f" and took the connection back {link.usurped} times: it goes"
                " on, and this one ends. Every pipeline needs a client id of its own, other than"
                f" {settings.client_id!r}: stop the other one, or give this one another",
                reason_code=_TAKEN_OVER,
            )
