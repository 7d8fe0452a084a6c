"""The thread that keeps one client connected: connect, read, ping, reconnect.

What the packets mean is the session's business (``subscriber``, ``publisher``); the link only
carries them. Every connection has a generation number, so that an acknowledgement can never be
sent on another connection than the one that delivered the message.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from mqtt5 import (
    AuthPacket,
    ConnAckPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    Packet,
    PingReqPacket,
    PingRespPacket,
)

from mqtt.client.backoff import Backoff
from mqtt.client.counts import Counts
from mqtt.client.proving_again import ProvingAgain
from mqtt.client.settings import BrokerAddress, ConnectionSettings
from mqtt.client.wire import Wire, connect, scram_login
from mqtt.codec import ProtocolVersion
from mqtt.errors import (
    BrokerUnreachable,
    ClientBroken,
    ConnectError,
    ConnectionLost,
    ConnectionRefused,
    MqttError,
    ProtocolError,
    SessionTakenOver,
)

_LOGGER = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_GOODBYE_SECONDS = 1.0
_TAKEN_OVER = 0x8E
_TAKEN_OVER_PAUSE_SECONDS = 5.0
_WANTED_SECONDS = 0.1
_OURS = frozenset({AuthPacket, DisconnectPacket, PingRespPacket})
"""What is no session's business."""
_SUSPICIOUS_LOSSES = 3
"""So many connections in a row that did not become stable look like a second client."""


class Session(Protocol):
    """What a link drives; all calls come from the link's thread."""

    def connected(self, wire: Wire, answer: ConnAckPacket, generation: int) -> None:
        """A connection stands. May send; may raise ConnectError to refuse it."""

    def received(self, packets: list[Packet]) -> None:
        """Packets arrived, PINGRESP and DISCONNECT taken out. May raise a MqttError."""

    def lost(self, told: str) -> None:
        """The connection is gone; ``told``: why, in the broker's words, or nothing."""

    def tick(self, now: float) -> None:
        """Called about twice a second while connected; may raise ConnectionLost to reconnect."""

    def wanted(self, since: float) -> bool:
        """Whether anybody has had a use for the connection since then (monotonic seconds)."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""

    @property
    def pause_seconds(self) -> float:
        """How long what arrives now may wait, so that more of it is read at once."""


class Link:
    """Keeps ``session`` connected until :meth:`close`.

    Counts ``connects``, ``losses``, ``failures`` (attempts that did not connect) and
    ``takeovers`` (told by the broker, or suspected) in ``counters``, which the session counts in
    too.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        session: Session,
        counters: Counts,
        *,
        connector: Callable[..., tuple[Wire, ConnAckPacket, list[Packet]]] = connect,
    ) -> None:
        self.settings = settings
        self.counters = counters
        self._session = session
        self._connect = connector
        self._backoff = Backoff(
            initial_seconds=settings.backoff_initial_seconds,
            maximum_seconds=settings.backoff_maximum_seconds,
        )
        self._address = 0
        # What the addresses said since there was a connection.
        self._unanswered: dict[BrokerAddress, ConnectError] = {}
        self._generation = 0
        self._short_lives = 0
        self._held = False
        self._usurped = 0
        self._yielded_at: float | None = None
        self._born = 0.0
        self._closing = threading.Event()
        self._settled = threading.Condition()
        self._ready = False
        self._error: MqttError | None = None
        self._wire: Wire | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"mqtt-{settings.client_id}", daemon=True
        )

    def start(self) -> None:
        """Starts the thread; :meth:`wait_ready` tells how it went."""
        self._thread.start()

    def set_ready(self) -> None:
        """The session says that it can work (subscribed, say)."""
        with self._settled:
            self._ready, self._error = True, None
            self._settled.notify_all()

    def wait_ready(self, timeout_seconds: float) -> None:
        """Waits until the session was ready once.

        Raises:
          ConnectError: the last reason why not, at once if it is permanent, else after
            ``timeout_seconds`` and with those of the other addresses.
        """
        deadline = time.monotonic() + timeout_seconds
        with self._settled:
            while not self._ready:
                error = self._error
                if isinstance(error, ConnectError) and error.permanent:
                    raise error
                left = deadline - time.monotonic()
                if left <= 0:
                    if isinstance(error, ConnectError):
                        raise self._of_all_addresses(error)
                    raise BrokerUnreachable(
                        f"not connected within {timeout_seconds:g} s"
                        + (f": {error}" if error else "")
                    )
                self._settled.wait(left)

    def _of_all_addresses(self, last: ConnectError) -> ConnectError:
        if len(self._unanswered) < 2:
            return last
        words = f"none of {len(self._unanswered)} addresses took the connection: " + "; ".join(
            str(error) for error in self._unanswered.values()
        )
        if isinstance(last, ConnectionRefused):
            return ConnectionRefused(words, reason_code=last.reason_code)
        return BrokerUnreachable(words) if isinstance(last, BrokerUnreachable) else last

    @property
    def address(self) -> BrokerAddress:
        """The broker that is connected to, or tried next."""
        return self.settings.addresses[self._address % len(self.settings.addresses)]

    @property
    def ready(self) -> bool:
        """Whether the session was able to work once."""
        return self._ready

    @property
    def broken(self) -> bool:
        """Whether the thread ended by an error that nobody foresaw; ``error`` tells it."""
        return isinstance(self._error, ClientBroken)

    @property
    def usurped(self) -> int:
        """How often another client took our client identifier before we had ever held it for
        ``stable_seconds``; 0 for good once we have. So of two that fight, the one that came second
        counts, unless both came within that time.

        Only what the broker tells counts (DISCONNECT 0x8E): mosquitto 2.0 and MQTT 3.1.1 don't.
        """
        return self._usurped

    @property
    def error(self) -> MqttError | None:
        """Why there is no connection now; None while connected."""
        return self._error

    def close(self, *, timeout_seconds: float = 5.0) -> None:
        """Says DISCONNECT and ends the thread. The session at the broker keeps its expiry."""
        self._closing.set()
        wire = self._wire
        if wire is not None:
            with contextlib.suppress(ConnectionLost):
                wire.send(DisconnectPacket())
            wire.end_writing()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._born = time.monotonic()
            try:
                self._live()
            except MqttError as error:
                if self._closing.is_set():
                    return
                if isinstance(error, ConnectError):
                    self.counters.add("failures")
                    self._complain(error)
                else:
                    self.counters.add("losses")
                    self._judge_loss(error, time.monotonic() - self._born)
            except Exception as error:  # a defect of whatever kind; raised again below
                # Whoever waits for this thread is told, and threading prints the trace.
                with self._settled:
                    self._ready = False
                self._complain(ClientBroken(f"a defect ended the MQTT client: {error!r}"))
                raise
            self._closing.wait(self._backoff.next_pause_seconds())
            self._wait_until_wanted()

    def _wait_until_wanted(self) -> None:
        """After a take-over by another client: only who has a use for the connection takes it back.

        A shard that a cluster has moved to another worker leaves its connection behind in this
        process; nobody reads from it, and it must not fight the one that took its place.
        """
        since, self._yielded_at = self._yielded_at, None
        while since is not None and not self._closing.is_set() and not self._session.wanted(since):
            self._closing.wait(_WANTED_SECONDS)

    def _live(self) -> None:
        """One connection from CONNECT to its end, which is always an exception."""
        address = self.address
        try:
            wire, answer, packets = self._connect(address, self.settings)
        except ConnectError as error:
            self._address += 1
            with self._settled:
                self._unanswered[address] = error
            raise
        with self._settled:
            self._unanswered.clear()
        self._wire, self._born = wire, time.monotonic()
        told = ""
        try:
            self._generation += 1
            self.counters.add("connects")
            self._session.connected(wire, answer, self._generation)
            self._pump(wire, answer, packets)
        except ProtocolError as error:
            if self.settings.protocol is ProtocolVersion.V5:
                with contextlib.suppress(ConnectionLost, ValueError):
                    code = DisconnectReasonCode(error.reason_code)
                    wire.send(DisconnectPacket(reason_code=code))
            raise ConnectionLost(f"{address} broke the protocol: {error}") from error
        except ConnectionLost as error:
            told = error.told
            raise
        finally:
            self._wire = None
            wire.close()
            self._session.lost(told)

    def _pump(self, wire: Wire, answer: ConnAckPacket, packets: list[Packet]) -> None:
        keep_alive = answer.server_keep_alive or self.settings.keep_alive_seconds
        again = self._proving_again()
        pinged_at: float | None = None
        next_tick = 0.0
        while not self._closing.is_set():
            if packets:
                self._deliver(packets, wire, again)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                self._session.tick(now)
                if again is not None and (proof := again.tick(now)) is not None:
                    wire.send(proof)
                if now - self._born > self.settings.stable_seconds:
                    self._backoff.reset()
                    self._short_lives = self._usurped = 0
                    self._held = True
                if pinged_at is not None and wire.received_at > pinged_at:
                    pinged_at = None
                if pinged_at is not None and now - pinged_at > keep_alive / 2:
                    raise ConnectionLost(
                        f"{wire.address} did not answer a ping within {keep_alive / 2:g} s"
                    )
                # While nothing is read, only our own silence counts.
                heard_at = now if self._session.full else wire.received_at
                idle = now - min(wire.sent_at, heard_at)
                if pinged_at is None and idle > keep_alive / 2:
                    wire.send(PingReqPacket())
                    pinged_at = now
            if self._session.full:
                # TCP holds the broker back; pings go on, their answers wait in the socket.
                pinged_at = None
                self._closing.wait(0.02)
                packets = []
            else:
                if pause := self._session.pause_seconds:
                    time.sleep(pause)
                packets = wire.receive(_TICK_SECONDS)
        # The broker closes once it has read our last acknowledgements. Closing with bytes unread
        # would reset the connection, and the broker might never see them.
        deadline = time.monotonic() + _GOODBYE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            wire.receive(left)
        raise ConnectionLost("closed by ourselves")

    def _proving_again(self) -> ProvingAgain | None:
        settings = self.settings
        if settings.scram_again_seconds is None:
            return None
        return ProvingAgain(
            lambda: scram_login(settings),
            every_seconds=settings.scram_again_seconds,
            answer_seconds=settings.connect_timeout_seconds,
            now=time.monotonic(),
        )

    def _deliver(self, packets: list[Packet], wire: Wire, again: ProvingAgain | None) -> None:
        if not _OURS.isdisjoint(map(type, packets)):
            for index, packet in enumerate(packets):
                if type(packet) is DisconnectPacket:
                    self._session.received(
                        [earlier for earlier in packets[:index] if type(earlier) not in _OURS]
                    )
                    raise self._told(packet)
                if type(packet) is AuthPacket:
                    if again is None:
                        raise ProtocolError("AUTH that nothing was asked by")
                    if (proof := again.received(packet, time.monotonic())) is not None:
                        wire.send(proof)
            packets = [packet for packet in packets if type(packet) not in _OURS]
        self._session.received(packets)

    def _told(self, packet: DisconnectPacket) -> ConnectionLost:
        code = int(packet.reason_code)
        if code == _TAKEN_OVER:
            return SessionTakenOver(
                f"another client connected as {self.settings.client_id!r}; every pipeline needs a"
                " client id of its own: stop the other one or give this one another client id",
                reason_code=code,
            )
        words = packet.reason_str or packet.reason_code.name.lower().replace("_", " ")
        told = f"{words} ({code:#04x})"
        return ConnectionLost(f"the broker disconnected us: {told}", reason_code=code, told=told)

    def _judge_loss(self, error: MqttError, lived_seconds: float) -> None:
        if isinstance(error, SessionTakenOver):
            self._yielded_at = time.monotonic()
            self._usurped += not self._held
            self.counters.add("takeovers")
            self._backoff.at_least(_TAKEN_OVER_PAUSE_SECONDS)
        elif lived_seconds < self.settings.stable_seconds:
            self._short_lives += 1
            if self._short_lives >= _SUSPICIOUS_LOSSES:
                self._yielded_at = time.monotonic()
                self.counters.add("takeovers")
                self._backoff.at_least(_TAKEN_OVER_PAUSE_SECONDS)
                error = ConnectionLost(
                    f"{error}; {self._short_lives} connections in a row were closed within"
                    f" {self.settings.stable_seconds:g} s: does another client connect as"
                    f" {self.settings.client_id!r}?"
                )
        else:
            self._backoff.reset()
        self._complain(error)

    def _complain(self, error: MqttError) -> None:
        with self._settled:
            self._error = error
            self._settled.notify_all()
        level = logging.ERROR if isinstance(error, SessionTakenOver) else logging.WARNING
        if not self._ready:
            # Whoever waits for the first connection is told, and tells.
            level = logging.INFO
        _LOGGER.log(level, "MQTT client %s: %s", self.settings.client_id, error)
