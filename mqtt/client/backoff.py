"""Growing pauses between attempts, so that a broker that comes back is not run over."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that grow from ``initial_seconds`` to ``maximum_seconds``, with jitter.

    Each pause is drawn between a half and the whole of the current step, so that many clients
    that lost their broker together do not come back together.
    """

    # So slow that whoever was away for some seconds is found within half as many.
    _GROWTH = 1.4

    def __init__(
        self, *, initial_seconds: float, maximum_seconds: float, rng: random.Random | None = None
    ) -> None:
        self._initial = initial_seconds
        self._maximum = max(initial_seconds, maximum_seconds)
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._step = initial_seconds

    def next_pause_seconds(self) -> float:
        """Returns how long to wait now; the next answer is longer."""
        step = self._step
        self._step = min(self._maximum, step * self._GROWTH)
        return step * self._rng.uniform(0.5, 1.0)

    def at_least(self, seconds: float) -> None:
        """Raises the current step, where an error asks for a longer pause."""
        self._step = min(self._maximum, max(self._step, seconds))

    def reset(self) -> None:
        """Starts again from the shortest pause."""
        self._step = self._initial
