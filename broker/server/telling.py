"""What the core has to say is logged and heard, a little in each turn of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from broker.core.actions import Notice
from broker.core.liveness import CONNECT_TIMEOUT
from broker.server.client import ClientProtocol
from broker.server.gathering import REPORT_SECONDS, Doorkeeper, Gathered, Unwelcome
from broker.server.logs import about, log_notice

LOG = logging.getLogger("broker")

TELLING_SECONDS = 0.002
"""For so long in a turn notices are logged and heard; the rest comes in the next. Where thousands
lose a right at once, each says so, and to log that takes longer than to do it.
"""

MOST_UNTOLD = 20_000
"""Notices that wait; what is more is told at once, before anything else is done."""


class Telling:
    """``hear`` gets every notice, once it is logged. ``wake``: what hears it may have something to
    say. What anybody can bring about is gathered.
    """

    def __init__(
        self, *, loop: asyncio.AbstractEventLoop, doorkeeper: Doorkeeper, wake: Callable[[], None]
    ) -> None:
        self.hear: Callable[[Notice], None] = lambda notice: None
        self._loop = loop
        self._doorkeeper = doorkeeper
        self._wake = wake
        self._failures = Gathered[Notice](_log_failure, seconds=REPORT_SECONDS)
        self._untold: deque[Notice] = deque()
        self._scheduled = False

    def tell(self, notices: Iterable[Notice]) -> None:
        """Tells them now or in the next turns, in order."""
        self._untold += notices
        if not self._scheduled:
            self._tell(until=self._loop.time() + TELLING_SECONDS)

    @property
    def waits(self) -> bool:
        """Whether something is not told yet."""
        return bool(self._untold)

    def tell_all(self) -> None:
        """Tells what waits."""
        self._tell(until=float("inf"))

    def failed(self, notice: Notice) -> None:
        """An error of the broker's own, with its traceback."""
        self._failures.note(notice)

    def stop(self) -> None:
        """Says what was gathered and not said yet."""
        self._failures.stop()

    def _tell(self, *, until: float) -> None:
        untold = self._untold
        while untold and (self._loop.time() < until or len(untold) > MOST_UNTOLD):
            notice = untold.popleft()
            self._log(notice)
            self.hear(notice)
        if untold:
            self._scheduled = True
            self._loop.call_soon(self._tell_on)

    def _tell_on(self) -> None:
        self._scheduled = False
        self._tell(until=self._loop.time() + TELLING_SECONDS)
        self._wake()

    def _log(self, notice: Notice) -> None:
        if notice.error is not None:
            self.failed(notice)
            return
        if notice.event != CONNECT_TIMEOUT:
            log_notice(LOG, notice)
            return
        connection = notice.connection
        assert connection is not None
        protocol = connection.transport
        assert isinstance(protocol, ClientProtocol)
        one = Unwelcome(
            event=notice.event,
            peer=connection.peer,
            listener=protocol.listener_name,
            text=notice.text,
            reason=notice.reason,
        )
        self._doorkeeper.note(notice.event, one)


def _log_failure(count: int, last: Notice) -> None:
    if count > 1:
        more = about(last.event)
        LOG.error("%d errors of the broker's own, the last of which is:", count, extra=more)
    log_notice(LOG, last)
