"""``$SYS/broker/…``: the broker's figures as messages, under mosquitto's names.

Only what means the same there bears its name there. Who may subscribe to ``$SYS/#`` is a matter of
roles; the standard role ``monitor`` may.
"""

from __future__ import annotations

import asyncio

from broker.core import inspecting
from broker.server.shell import Shell
from broker.version import program_version


class SystemTopics:
    """Tells the core what to publish, as often as it is told to."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._began = shell.loop.time()
        self._interval_seconds = 0.0
        self._handle: asyncio.Handle | None = None

    def tell_every(self, seconds: float) -> None:
        """From now on; 0: never."""
        if seconds == self._interval_seconds:
            return
        self._interval_seconds = seconds
        if self._handle is not None:
            self._handle.cancel()
        if seconds:
            self._handle = self._shell.loop.call_soon(self._publish)

    def values(self) -> dict[str, str]:
        """The figures by topic."""
        core, shell = self._shell.core, self._shell
        totals = inspecting.totals(core.sessions)
        counters = core.counters
        figures: dict[str, object] = {
            "version": f"mqttbeam {program_version()}",
            "uptime": f"{shell.loop.time() - self._began:.0f} seconds",
            "clients/connected": totals.connected,
            "clients/disconnected": totals.sessions - totals.connected,
            "clients/total": totals.sessions,
            "clients/slowed": core.pacing.slowed,
            "publish/messages/received": counters.messages_received,
            "publish/messages/sent": counters.messages_sent,
            "publish/messages/dropped": counters.dropped_queue_full,
            "bytes/received": sum(each.received_bytes for each in shell.traffic),
            "bytes/sent": sum(each.sent_bytes for each in shell.traffic),
            "subscriptions/count": totals.subscriptions,
            "retained messages/count": core.retained.messages,
        }
        return {f"$SYS/broker/{name}": str(value) for name, value in figures.items()}

    def _publish(self) -> None:
        shell = self._shell
        shell.core.own_topics.tell(self.values(), shell.loop.time())
        shell.wake()
        self._handle = shell.loop.call_later(self._interval_seconds, self._publish)
