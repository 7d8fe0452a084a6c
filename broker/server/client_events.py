"""Connects, disconnects and last-seen times: messages on a topic of the broker's, and rows.

A message is JSON, at QoS 1, so that the session of a subscriber who is away gathers it::

    {"event": "disconnected", "name": "meter-7", "clientId": "meter-7", "at": "2026-…Z",
     "reason": "closed by the client", "peer": "192.0.2.7:53122", "protocol": "5.0"}
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

from broker.core.actions import Notice
from broker.core.broker import Broker
from broker.registry.events import ClientEvent, EventKind
from broker.server.recorder import Recorder
from schemas.times import format_time

SEEN_SECONDS = 60.0
"""How often last-seen times of connected clients are recorded."""

NAME = "%name"
"""In a topic: the device's or service's name."""

_KINDS = {
    "connected": EventKind.CONNECTED,
    "disconnected": EventKind.DISCONNECTED,
    "closed": EventKind.DISCONNECTED,
    "connection_lost": EventKind.DISCONNECTED,
}
"""Of the events that the core's notices tell."""

_LONGEST_REASON = 300


class ClientEvents:
    """Hears the core's notices, in the event loop.

    Args:
      topic: with ``%name``; None: no messages.
      recorder: None where the registry keeps no rows.
      wall: seconds since the epoch.
    """

    def __init__(
        self,
        core: Broker,
        *,
        topic: str | None,
        recorder: Recorder | None,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
    ) -> None:
        self._core = core
        self._topic = topic
        self._recorder = recorder
        self._loop = loop
        self._wall = wall
        self._told: dict[str, float] = {}
        self._handle: asyncio.Handle | None = None
        if recorder is not None:
            self._handle = loop.call_later(SEEN_SECONDS, self._look)

    def heard(self, notice: Notice) -> None:
        """Makes an event of a notice that tells of one."""
        connection, kind = notice.connection, _KINDS.get(notice.event)
        if kind is None or connection is None or connection.principal is None:
            return
        event = ClientEvent(
            kind=kind,
            name=connection.principal.name,
            client_id=connection.client_id,
            at=self._wall(),
            reason=notice.reason[:_LONGEST_REASON],
            peer=connection.peer,
            protocol="5.0" if connection.v5 else "3.1.1",
        )
        if self._recorder is not None:
            self._recorder.add(event)
        if self._topic is not None:
            topic = self._topic.replace(NAME, event.name)
            self._core.own_topics.say(topic, _payload(event), self._loop.time())

    def pause(self) -> None:
        """Looks no more at who is connected; what happens still is heard."""
        if self._handle is not None:
            self._handle.cancel()

    async def stop(self, *, timeout_seconds: float) -> None:
        """Waits until what was heard is recorded, or the time is over."""
        self.pause()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.stop, timeout_seconds)

    def _look(self) -> None:
        assert self._recorder is not None
        offset = self._wall() - self._loop.time()
        seen: dict[str, float] = {}
        for connection in self._core.connections:
            if connection.principal is not None:
                name = connection.principal.name
                seen[name] = max(seen.get(name, 0.0), connection.last_received)
        changed = {name: at + offset for name, at in seen.items() if self._told.get(name) != at}
        self._told = seen
        self._recorder.seen(changed)
        self._handle = self._loop.call_later(SEEN_SECONDS, self._look)


def _payload(event: ClientEvent) -> bytes:
    values = {
        "event": event.kind.value,
        "name": event.name,
        "clientId": event.client_id,
        "at": format_time(datetime.fromtimestamp(event.at, UTC)),
        "reason": event.reason,
        "peer": event.peer,
        "protocol": event.protocol,
    }
    return json.dumps(values, ensure_ascii=False).encode()
