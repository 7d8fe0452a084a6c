"""The backlog of a subscription with message ordering.

Of each ordering key one batch is out at a time: messages that one `take` handed to one consumer.
The next batch follows when all of it is acknowledged. When one message fails (a nack, an expired
lease), it and everything after it in the batch, acknowledged or not, is taken back and delivered
again in order, and the key stays blocked until what was before it is acknowledged and the retry
pause is over. Other keys, and messages without one, go on meanwhile.
https://cloud.google.com/pubsub/docs/ordering
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator

from localcloud.pubsub.backlog import Backlog
from localcloud.pubsub.delivery import Delivery
from localcloud.pubsub.messages import StoredMessage


class _Key:
    """One ordering key: what waits (`again` before `fresh`) and the batch that is out."""

    __slots__ = ("again", "batch", "fresh", "open", "queued", "ready_at")

    def __init__(self) -> None:
        self.again: deque[Delivery] = deque()
        self.fresh: deque[StoredMessage] = deque()
        self.batch: list[Delivery] = []
        self.open = 0
        """Deliveries of the batch that are not settled."""
        self.ready_at = 0.0
        self.queued = False

    def has_waiting(self) -> bool:
        return bool(self.again or self.fresh)

    def take(self, maximum_messages: int, maximum_bytes: int) -> tuple[list[Delivery], int]:
        batch: list[Delivery] = []
        size = 0
        while len(batch) < maximum_messages and size < maximum_bytes:
            if self.again:
                delivery = self.again.popleft()
            elif self.fresh:
                delivery = Delivery(self.fresh.popleft())
            else:
                break
            size += len(delivery.message[0])
            batch.append(delivery)
        self.batch = batch
        self.open = len(batch)
        return batch[:], size


class OrderedBacklog:
    """Messages in the order of their keys; those without a key as in `Backlog`."""

    def __init__(self) -> None:
        self._keyless = Backlog()
        self._keys: dict[str, _Key] = {}
        self._ready: deque[str] = deque()
        self._paused: list[tuple[float, str]] = []

    def add(self, messages: Iterable[StoredMessage]) -> None:
        """Append newly published messages, each to its key."""
        keyless = []
        for message in messages:
            name = message.ordering_key
            if not name:
                keyless.append(message)
                continue
            key = self._keys.get(name)
            if key is None:
                key = self._keys[name] = _Key()
            key.fresh.append(message)
            if not key.queued:
                self._queue_if_free(name, key)
        self._keyless.add(keyless)

    def has_ready(self) -> bool:
        """Whether `take` would return something now."""
        return bool(self._ready) or self._keyless.has_ready()

    def take(self, *, maximum_messages: int, maximum_bytes: int) -> list[Delivery]:
        """Hand out one batch each of as many free keys as fit, then messages without a key."""
        taken: list[Delivery] = []
        size = 0
        while self._ready and len(taken) < maximum_messages and size < maximum_bytes:
            key = self._keys[self._ready.popleft()]
            key.queued = False
            batch, batch_bytes = key.take(maximum_messages - len(taken), maximum_bytes - size)
            taken += batch
            size += batch_bytes
        if len(taken) < maximum_messages and size < maximum_bytes:
            taken += self._keyless.take(
                maximum_messages=maximum_messages - len(taken), maximum_bytes=maximum_bytes - size
            )
        return taken

    def settle(self, delivery: Delivery) -> None:
        """Count the delivery as done; the last one of a batch frees its key."""
        name = delivery.message.ordering_key
        if not name:
            return
        key = self._keys[name]
        delivery.settled = True
        key.open -= 1
        self._close_batch_if_done(name, key)

    def give_back(self, delivery: Delivery, *, ready_at: float, now: float) -> list[Delivery]:
        """Take back the delivery and what follows it in its batch; returns those still out."""
        name = delivery.message.ordering_key
        if not name:
            return self._keyless.give_back(delivery, ready_at=ready_at, now=now)
        key = self._keys[name]
        place = key.batch.index(delivery)
        replay = key.batch[place:]
        del key.batch[place:]
        still_out = [other for other in replay[1:] if not other.settled]
        key.open -= 1 + len(still_out)
        for other in replay:
            other.settled = False
        key.again.extendleft(reversed(replay))
        if ready_at > max(key.ready_at, now):
            key.ready_at = ready_at
            heapq.heappush(self._paused, (ready_at, name))
        self._close_batch_if_done(name, key)
        return still_out

    def wake(self, now: float) -> None:
        """Free the keys whose retry pause is over."""
        self._keyless.wake(now)
        while self._paused and self._paused[0][0] <= now:
            name = heapq.heappop(self._paused)[1]
            key = self._keys.get(name)
            if key is not None and key.ready_at <= now:
                key.ready_at = 0.0
                self._queue_if_free(name, key)

    def drop_published_before(self, published_ns: int) -> None:
        """Forget waiting messages that have outlived their retention."""
        self._keyless.drop_published_before(published_ns)
        emptied = []
        for name, key in self._keys.items():
            while key.again and key.again[0].message.published_ns < published_ns:
                key.again.popleft()
            while not key.again and key.fresh and key.fresh[0].published_ns < published_ns:
                key.fresh.popleft()
            if not key.has_waiting() and not key.batch:
                emptied.append(name)
        for name in emptied:
            del self._keys[name]
        if emptied:
            self._ready = deque(name for name in self._ready if name in self._keys)

    def waiting(self) -> Iterator[StoredMessage]:
        """All messages that wait, key by key, and those acknowledged out of order."""
        yield from self._keyless.waiting()
        for key in self._keys.values():
            for delivery in key.again:
                yield delivery.message
            yield from key.fresh

    def clear(self) -> None:
        """Forget everything, what is out included."""
        self._keyless.clear()
        self._keys.clear()
        self._ready.clear()
        self._paused.clear()

    def _close_batch_if_done(self, name: str, key: _Key) -> None:
        if key.open:
            return
        key.batch = []
        if key.has_waiting():
            self._queue_if_free(name, key)
        else:
            del self._keys[name]

    def _queue_if_free(self, name: str, key: _Key) -> None:
        if not (key.queued or key.batch or key.ready_at) and key.has_waiting():
            key.queued = True
            self._ready.append(name)
