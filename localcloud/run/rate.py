"""How fast a counter grows that is looked at now and then."""

from collections import deque

WINDOW_SECONDS = 5.0


class Rate:
    """The growth a second of a counter over the last few seconds."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()

    def per_second(self, at_seconds: float, count: int) -> float:
        """Take a count, read at a time of a steady clock, and return the growth.

        The same time twice is the same reading. Two are needed: before, the growth is 0.
        """
        if not self._counts or at_seconds > self._counts[-1][0]:
            self._counts.append((at_seconds, count))
        while at_seconds - self._counts[0][0] > WINDOW_SECONDS and len(self._counts) > 2:
            self._counts.popleft()
        (then, count_then), (now, count_now) = self._counts[0], self._counts[-1]
        return (count_now - count_then) / (now - then) if now > then else 0.0
