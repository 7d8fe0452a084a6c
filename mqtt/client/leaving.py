"""Leaving a shared subscription: taking what a session still holds, then ending it.

A member that stays away for good takes along what was dealt to it, until its session expires. So
whoever scales in connects once more with the client identifier of each member that goes: ends its
subscriptions, takes and acknowledges what the session holds, and ends the session when it is empty.

    CONNECT, clean start off -> UNSUBSCRIBE -> what was kept, acknowledged as ever
      -> quiet for some seconds, nothing unacknowledged -> CONNECT, clean start on -> DISCONNECT

The second CONNECT ends the session in both versions of the protocol [MQTT-3.1.2-4]; 3.1.1 has no
other way. MQTT can't say that a queue is empty: quiet is what tells.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from mqtt5 import ConnAckPacket, DisconnectPacket, Packet, UnsubAckPacket, UnsubscribePacket

from mqtt.client.settings import ConnectionSettings
from mqtt.client.subscriber import Subscriber
from mqtt.client.wire import Wire, connect
from mqtt.errors import ConnectError, ConnectionLost, SubscriptionRefused
from mqtt.topics import TopicFilter

_LOGGER = logging.getLogger(__name__)

_UNSUBSCRIBE_ID = 1
_UNSUBACK_SECONDS = 10.0
_QUIET_SECONDS = 10.0
"""Brokers that keep queues on disk or on another node send them in pieces."""


class LeavingSubscriber(Subscriber):
    """Empties the session of ``settings.client_id`` and ends it; then ``left`` is true.

    Counts ``sessions_ended`` beside what a Subscriber counts.

    Args:
      settings: the connection, as it was when the session was made.
      filters: the subscriptions that the session may have.
      quiet_seconds: how long nothing must have come, and nothing be unacknowledged.
      unacked_seconds, start_timeout_seconds: as for Subscriber.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        filters: Sequence[TopicFilter],
        *,
        quiet_seconds: float = _QUIET_SECONDS,
        unacked_seconds: float = 600.0,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        self._quiet_seconds = quiet_seconds
        self._unsubscribe_by: float | None = None
        self._quiet_since: float | None = None
        self._left = False
        super().__init__(
            settings,
            filters,
            unacked_seconds=unacked_seconds,
            start_timeout_seconds=start_timeout_seconds,
        )

    @property
    def left(self) -> bool:
        """Whether the session is empty and ended: nothing will come any more."""
        return self._left

    def connected(self, wire: Wire, answer: ConnAckPacket, generation: int) -> None:
        """Ends the subscriptions."""
        self._stands_on(wire, generation)
        if not answer.session_present:
            # The broker holds nothing for us; what this connection made is ended as well.
            self._quiet_since = -float("inf")
            self.link.set_ready()
            return
        self._unsubscribe_by = time.monotonic() + _UNSUBACK_SECONDS
        wire.send(UnsubscribePacket(_UNSUBSCRIBE_ID, [str(item) for item in self._filters]))

    def received(self, packets: list[Packet]) -> None:
        """Queues what the session held; checks UNSUBACK."""
        for packet in packets:
            if type(packet) is UnsubAckPacket:
                self._check_ended(packet)
        if self._quiet_since is not None:
            self._quiet_since = max(self._quiet_since, time.monotonic())
        super().received(packets)

    def lost(self, told: str) -> None:
        """What was not acknowledged comes again on the next connection."""
        self._unsubscribe_by = self._quiet_since = None
        super().lost(told)

    def tick(self, now: float) -> None:
        """Ends the session once it is empty. Raises ConnectionLost as Subscriber does."""
        if self._unsubscribe_by is not None and now > self._unsubscribe_by:
            raise ConnectionLost(
                f"the broker did not answer UNSUBSCRIBE in {_UNSUBACK_SECONDS:g} s"
            )
        super().tick(now)
        if self._left or self._quiet_since is None:
            return
        if self.holds:
            self._quiet_since = max(self._quiet_since, now)
        elif now - self._quiet_since > self._quiet_seconds:
            self._end()

    def _check_ended(self, packet: UnsubAckPacket) -> None:
        self._unsubscribe_by = None
        for item, code in zip(self._filters, packet.reason_codes, strict=False):
            if int(code) >= 0x80:
                raise SubscriptionRefused(
                    f"the broker did not end the subscription {str(item)!r} of client"
                    f" {self.link.settings.client_id!r}: {code.name.lower().replace('_', ' ')}"
                    f" ({int(code):#04x})",
                    topic_filter=str(item),
                    reason_code=int(code),
                )
        self._quiet_since = time.monotonic()
        self.link.set_ready()

    def _end(self) -> None:
        settings = self.link.settings.replace(clean_start=True, session_expiry_seconds=0)
        try:
            wire, _, _ = connect(self.link.address, settings)
        except ConnectError as error:
            _LOGGER.warning(
                "MQTT client %s: its session is empty and could not be ended, trying again: %s",
                settings.client_id,
                error,
            )
            return
        try:
            wire.send(DisconnectPacket())
        finally:
            wire.close()
        self._left = True
        self.counters.add("sessions_ended")
        # A warning, as whoever takes shards away waits for it, and it comes once.
        _LOGGER.warning("MQTT client %s: its session is empty and ended", settings.client_id)
        self.link.close()
