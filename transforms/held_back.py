"""Acknowledging one checkpoint later than the runner says, where it says so too early.

Flink finalizes, when it has completed a checkpoint, every bundle that is done by then: also those
that were done after the checkpoint had been taken, whose elements may still be on their way to
another step, or in its state, and in no checkpoint. After ``kill -9`` the job goes on from that
checkpoint, without them. So what is finalized is held back until a bundle is finalized that began
to be recorded later: that one is told of by a later checkpoint, which was taken after everything
that was held back had left the read.

It rests on one checkpoint being under way at a time, and on a pause between two.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

BatchT = TypeVar("BatchT")

_EARLY = ("FlinkRunner", "PortableRunner")


def finalizes_early(options: PipelineOptions) -> bool:
    """Whether the pipeline's runner finalizes bundles that its checkpoint does not hold.

    Of a job server it is not known which runner is behind it, so it is taken to be one that does.
    """
    return (options.view_as(StandardOptions).runner or "") in _EARLY


class HeldBack(Generic[BatchT]):
    """What one read has been told is final, and doesn't acknowledge yet. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._finalizations = 0
        self._batches: deque[tuple[int, Sequence[BatchT]]] = deque()

    def now(self) -> int:
        """Returns how many bundles have been finalized: a new mark keeps it."""
        with self._lock:
            return self._finalizations

    def finalized(self, batches: Sequence[BatchT], *, made_at: int) -> list[BatchT]:
        """Takes the batches of a finalized mark; returns those to be acknowledged.

        Those are what was finalized before the mark was made. ``made_at``: what ``now`` returned
        then.
        """
        with self._lock:
            due: list[BatchT] = []
            while self._batches and self._batches[0][0] < made_at:
                due += self._batches.popleft()[1]
            if batches:
                self._batches.append((self._finalizations, batches))
            self._finalizations += 1
            return due
