"""What a subscription still has to deliver, in the order it will.

Two kinds behind one interface: `Backlog` for messages whose order is free, and `OrderedBacklog`
for a subscription with message ordering.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from localcloud.pubsub.delivery import Delivery
from localcloud.pubsub.messages import StoredMessage


class AnyBacklog(Protocol):
    """What a subscription asks of its backlog. Times are monotonic seconds."""

    def add(self, messages: Iterable[StoredMessage]) -> None:
        """Append newly published messages."""
        ...

    def has_ready(self) -> bool:
        """Whether `take` would return something now."""
        ...

    def take(self, *, maximum_messages: int, maximum_bytes: int) -> list[Delivery]:
        """Hand out up to so many ready messages, stopping once their bytes reach the maximum."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """The delivery is done with: acknowledged, dead-lettered or too old."""
        ...

    def give_back(self, delivery: Delivery, *, ready_at: float, now: float) -> list[Delivery]:
        """The delivery failed; deliver it again from `ready_at` on.

        Returns the other outstanding deliveries that must be taken back with it (their leases are
        void), which an ordering key asks for.
        """
        ...

    def wake(self, now: float) -> None:
        """Make ready what waited for a pause to end."""
        ...

    def drop_published_before(self, published_ns: int) -> None:
        """Forget waiting messages that have outlived their retention."""
        ...

    def waiting(self) -> Iterator[StoredMessage]:
        """All messages that wait, in no certain order."""
        ...

    def clear(self) -> None:
        """Forget everything, what is out included."""
        ...


class Backlog:
    """Messages whose order is free: redeliveries first, then as published."""

    def __init__(self) -> None:
        self._fresh: deque[StoredMessage] = deque()
        self._again: deque[Delivery] = deque()
        # (ready at, sequence, delivery): the sequence is unique, so deliveries are never compared
        self._paused: list[tuple[float, int, Delivery]] = []

    def add(self, messages: Iterable[StoredMessage]) -> None:
        """Append newly published messages."""
        self._fresh.extend(messages)

    def has_ready(self) -> bool:
        """Whether `take` would return something now."""
        return bool(self._fresh or self._again)

    def take(self, *, maximum_messages: int, maximum_bytes: int) -> list[Delivery]:
        """Hand out up to so many ready messages, stopping once their bytes reach the maximum."""
        taken: list[Delivery] = []
        size = 0
        again, fresh = self._again, self._fresh
        while again and len(taken) < maximum_messages and size < maximum_bytes:
            delivery = again.popleft()
            size += len(delivery.message[0])
            taken.append(delivery)
        room = min(maximum_messages - len(taken), len(fresh))
        while room > 0 and size < maximum_bytes:
            message = fresh.popleft()
            size += len(message[0])
            taken.append(Delivery(message))
            room -= 1
        return taken

    def settle(self, delivery: Delivery) -> None:
        """Nothing here depends on a message that is out."""

    def give_back(self, delivery: Delivery, *, ready_at: float, now: float) -> list[Delivery]:
        """Deliver again from `ready_at` on; no other delivery is touched."""
        if ready_at <= now:
            self._again.append(delivery)
        else:
            heapq.heappush(self._paused, (ready_at, delivery.message.sequence, delivery))
        return []

    def wake(self, now: float) -> None:
        """Make ready what waited for a pause to end."""
        while self._paused and self._paused[0][0] <= now:
            self._again.append(heapq.heappop(self._paused)[2])

    def drop_published_before(self, published_ns: int) -> None:
        """Forget waiting messages that have outlived their retention."""
        fresh = self._fresh
        while fresh and fresh[0].published_ns < published_ns:
            fresh.popleft()
        if any(delivery.message.published_ns < published_ns for delivery in self._again):
            self._again = deque(
                delivery
                for delivery in self._again
                if delivery.message.published_ns >= published_ns
            )

    def waiting(self) -> Iterator[StoredMessage]:
        """All messages that wait: redeliveries, paused ones, then as published."""
        for delivery in self._again:
            yield delivery.message
        for _, _, delivery in self._paused:
            yield delivery.message
        yield from self._fresh

    def clear(self) -> None:
        """Forget everything."""
        self._fresh.clear()
        self._again.clear()
        self._paused.clear()
