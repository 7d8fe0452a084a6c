"""What a worker process has once: connections that outlive bundles, readers and DoFn instances.

They are opened at first use, by a key, and stay open until the process ends. A local run, whose
process is the worker too, closes them at its end, so that brokers and Pub/Sub learn at once what
was finished and what was not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

_ALL: list[Shared[Any, Any]] = []


class Shared(Generic[KeyT, ValueT]):
    """The objects of one kind; made once a module, at import.

    ``close`` ends an object; its second argument is how long (seconds) the object may wait for
    acknowledgements that are on their way.
    """

    def __init__(self, close: Callable[[ValueT, float], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._values: dict[KeyT, ValueT] = {}
        _ALL.append(self)

    def get(
        self,
        key: KeyT,
        make: Callable[[], ValueT],
        *,
        keep: Callable[[ValueT], bool] = lambda _: True,
    ) -> ValueT:
        """Returns the key's object; makes it where there is none, or none to ``keep``.

        Raises what ``make`` raises.
        """
        with self._lock:
            if key in self._values and not keep(self._values[key]):
                self._close(self._values.pop(key), 0.0)
            if key not in self._values:
                self._values[key] = make()
            return self._values[key]

    def values(self) -> list[ValueT]:
        """Returns the objects that are open."""
        with self._lock:
            return list(self._values.values())

    def close_all(self, *, settle_seconds: float = 0.0) -> None:
        """Ends every object."""
        with self._lock:
            values = list(self._values.values())
            self._values.clear()
        for value in values:
            self._close(value, settle_seconds)


def close_shared(*, settle_seconds: float) -> None:
    """Ends every object of every kind in this process.

    ``settle_seconds``: how long each may wait for acknowledgements that are on their way; 0
    after a failure, when none are.
    """
    # What was made later may hold something of what was made before.
    for shared in reversed(_ALL):
        shared.close_all(settle_seconds=settle_seconds)
