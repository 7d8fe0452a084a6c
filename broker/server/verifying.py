"""Threads in which proofs are verified, a fair queue before them, and answers in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from broker.server.fair_queue import FairQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """``verify`` runs in a thread; ``done`` gets its future, in the event loop; ``postponed`` is
    called in its place where there is no room.
    """

    verify: Callable[[], Any]
    done: Callable[[asyncio.Future[Any]], None]
    postponed: Callable[[], None]


class Verifying:
    """``threads`` at work, and at most ``maximum`` waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, threads: int, maximum: int) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._idle = threads
        self._queue: FairQueue[Work] = FairQueue(maximum)

    def submit(self, sender: str, name: str, work: Work) -> None:
        """Does the work as soon as it is the sender's turn."""
        if self._idle:
            self._run(work)
            return
        displaced = self._queue.put(sender, name, work)
        if displaced is not None:
            displaced.postponed()

    def stop(self) -> None:
        """What waits is never done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Work) -> None:
        self._idle -= 1
        future = self._loop.run_in_executor(self._pool, work.verify)
        future.add_done_callback(lambda done: self._done(work, done))

    def _done(self, work: Work, done: asyncio.Future[Any]) -> None:
        self._idle += 1
        following = None if done.cancelled() else self._queue.take()
        if following is not None:
            self._run(following)
        work.done(done)
