"""A bounded queue that no single sender can fill, and in which none waits for another's many."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_ALIKE = 2


class FairQueue(Generic[T]):
    """Takes ``maximum`` items, and gives one of each sender in turn.

    When it is full, the newest item of whoever has most in it makes way. Of one sender's items
    under one name only two wait at once: a device has no use for more.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._size = 0
        self._waiting: OrderedDict[str, deque[tuple[str, T]]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def put(self, sender: str, name: str, item: T) -> T | None:
        """Queues an item. Returns the one that has no place, which may be this one."""
        mine = self._waiting.get(sender, ())
        if sum(other == name for other, _ in mine) >= _MOST_ALIKE:
            return item
        displaced = None
        if self._size >= self._maximum:
            # The oldest of those with the most: max takes the first.
            greediest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting[greediest]) <= len(mine) + 1:
                return item
            _, displaced = self._waiting[greediest].pop()
            self._size -= 1
        self._waiting.setdefault(sender, deque()).append((name, item))
        self._size += 1
        return displaced

    def take(self) -> T | None:
        """The next sender's oldest item; None where nothing waits."""
        if not self._waiting:
            return None
        sender, items = self._waiting.popitem(last=False)
        _, item = items.popleft()
        self._size -= 1
        if items:
            self._waiting[sender] = items
        return item
