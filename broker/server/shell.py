"""The event loop's side of the core: one flush for everything that one turn of the loop brought.

Whatever arrives in a turn goes into the core at once; what the core decided is done in the next
turn: the store's commit, bytes of a connection in one write, then closings, then logins. So no
acknowledgement leaves before what it speaks of is durable, and if that fails nothing ever leaves.

A commit is made by a thread of its own while the loop goes on reading; what the core decides
meanwhile waits and is the next commit. So the busier the broker, the more is in each. Messages
that need not wait (see ``broker.core.actions``) are written in each turn of the loop. What nobody
waits for, such as that a message has arrived, is committed with what comes next or a little later:
until then a crash brings the message again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from broker.auth.authenticator import METHODS, Authenticator
from broker.auth.principal import Principal
from broker.auth.site import is_loopback, site_of
from broker.config import Listener
from broker.core.actions import Notice, Turn, Write
from broker.core.broker import Broker
from broker.core.connection import Connection
from broker.core.ending import INTERNAL_ERROR
from broker.core.limits import Limits
from broker.core.restoring import owners, owners_by_right
from broker.server.client import ClientProtocol
from broker.server.gathering import Doorkeeper, Unwelcome
from broker.server.logins import Logins
from broker.server.logs import about
from broker.server.measuring import Durations, LoopLag, Traffic
from broker.server.proxied import Origin
from broker.server.telling import Telling
from broker.store import SqliteStore
from broker.store.examining import held_in_words

LOG = logging.getLogger("broker")

REST_SECONDS = 0.001
"""Between two commits, for those that acknowledgements wait for: at 2,000 messages a second it
halves the commits, and takes a third off what a message costs.
"""

UNHURRIED_SECONDS = 0.02
"""What nobody waits for is committed after so long."""


class Shell:
    """Runs the core in an event loop. ``factory`` gives what listeners need.

    ``take_up`` comes first where there is a ``store``. ``commit_delay_seconds``: see
    ``StoreConfig``. ``telling``: what the core has to say. ``failed`` gets the error that ends the
    broker: nothing is read or written any more.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        authenticator: Authenticator,
        loop: asyncio.AbstractEventLoop,
        store: SqliteStore | None = None,
        commit_delay_seconds: float = 0.0,
    ) -> None:
        self.core = Broker(
            limits=limits,
            new_token=lambda: secrets.token_hex(12),
            durable=store is not None,
            methods=METHODS,
        )
        self.loop = loop
        self.failed: asyncio.Future[None] = loop.create_future()
        self.store = store
        self._commit_delay_seconds = commit_delay_seconds
        self._logins = Logins(
            core=self.core, authenticator=authenticator, loop=loop, wake=self.wake
        )
        self._flush_scheduled = False
        self._early_scheduled = False
        self._rested_at = 0.0
        self._unhurried: asyncio.TimerHandle | None = None
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._commit: asyncio.Future[None] | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self._tick_at = float("inf")
        self.traffic: list[Traffic] = []
        self.commit_durations = Durations()
        self.lag = LoopLag(loop)
        self._protocols: set[ClientProtocol] = set()
        self._sites: Counter[bytes] = Counter()
        # Those who were told to go, by site, the first one first.
        self._leaving: dict[bytes, dict[ClientProtocol, None]] = {}
        self.doorkeeper = Doorkeeper()
        self.telling = Telling(loop=loop, doorkeeper=self.doorkeeper, wake=self.wake)

    async def take_up(
        self,
        *,
        removed: Callable[[Collection[str]], Collection[str]],
        principals: Callable[[Collection[str]], Mapping[str, Principal]],
    ) -> None:
        """Takes up what the store holds. By a thread of its own: probes are answered meanwhile.

        ``removed``: asked there who of the owners of sessions and wills is nobody any more.
        ``principals``: who the owners of wills and of subscriptions are now.

        Raises:
          StoreError: the store is damaged.
        """
        store, core = self.store, self.core
        if store is None:
            return
        now = self.loop.time()

        def restore() -> int:
            stored = store.load()
            return core.restore(
                stored,
                now,
                removed=removed(owners(stored)),
                principals=principals(owners_by_right(stored)),
            )

        messages = await asyncio.to_thread(restore)
        LOG.info("%s: %s", store.path, held_in_words(len(core.sessions), messages))
        self._flush()

    def factory(self, listener: Listener) -> Callable[[Origin | None], ClientProtocol]:
        """What makes the protocol of each new connection of a listener.

        It takes the origin that a proxy tells of, or None.
        """
        traffic = Traffic(listener=listener.name)
        self.traffic.append(traffic)
        return lambda origin: ClientProtocol(self, listener, traffic, origin)

    def accept(self, protocol: ClientProtocol) -> Connection | None:
        """A connection was made. None where there are as many as are allowed."""
        limits, peer, site = self.core.limits, protocol.origin, site_of(protocol.origin.host)
        # This machine's own, or a proxy's that does not say who is behind it, are everybody's.
        is_full = self._sites[site] >= limits.connections_per_address and not is_loopback(peer.host)
        if is_full and not self._give_way(self._leaving.get(site)):
            reason = f"{self._sites[site]} connections are open from there"
            self._refuse(protocol, reason, limit="connections_per_address")
            return None
        is_full = len(self._protocols) >= limits.connections
        if is_full and not self._give_way(next(iter(self._leaving.values()), None)):
            reason = f"{len(self._protocols)} connections are open"
            self._refuse(protocol, reason, limit="connections")
            return None
        self._protocols.add(protocol)
        self._sites[site] += 1
        connection = self.core.opened(
            str(peer), self.loop.time(), transport_bytes=protocol.transport_bytes
        )
        connection.transport = protocol
        self._arm()
        return connection

    def leaves(self, protocol: ClientProtocol) -> None:
        """The client was told to go, and has some time to read it unless its place is needed."""
        if protocol in self._protocols:
            self._leaving.setdefault(site_of(protocol.origin.host), {})[protocol] = None

    def gone(self, protocol: ClientProtocol) -> None:
        """The protocol's transport is closed for good."""
        if protocol in self._protocols:
            self._protocols.discard(protocol)
            site = site_of(protocol.origin.host)
            self._sites[site] -= 1
            if not self._sites[site]:
                del self._sites[site]
            leaving = self._leaving.get(site)
            if leaving is not None:
                leaving.pop(protocol, None)
                if not leaving:
                    del self._leaving[site]

    def _give_way(self, leaving: Mapping[ClientProtocol, None] | None) -> bool:
        """Closes the first of those who were told to go. False: there is none."""
        if not leaving:
            return False
        first = next(iter(leaving))
        first.abort()
        self.gone(first)
        return True

    def wake(self) -> None:
        """Sees to it that what the core decided is done in the next turn of the loop, or when the
        commit that is under way is done.
        """
        if not self._flush_scheduled and self._commit is None:
            if self.core.has_work:
                self._flush_scheduled = True
                delay = self._commit_delay_seconds
                if self.core.has_changes:
                    delay = max(delay, self._rested_at - self.loop.time())
                if delay > 0:
                    self.loop.call_later(delay, self._flush)
                else:
                    self.loop.call_soon(self._flush)
                    return
            elif self._unhurried is None and self.core.has_changes:
                self._unhurried = self.loop.call_later(UNHURRIED_SECONDS, self._flush)
        if not self._early_scheduled and self.core.has_early:
            self._early_scheduled = True
            self.loop.call_soon(self._write_early)

    def heed(self) -> None:
        """As ``wake``, and a deadline may have come nearer without anything to send."""
        self._arm()
        self.wake()

    async def stop(self, *, timeout_seconds: float) -> None:
        """Says goodbye to every client and waits until they took it or the time is over."""
        self.core.shut_down(self.loop.time())
        await self._settle()
        deadline = self.loop.time() + timeout_seconds
        while self._protocols and self.loop.time() < deadline:
            await asyncio.sleep(0.01)
        for protocol in list(self._protocols):
            protocol.abort()
        while self._protocols:
            await asyncio.sleep(0)
        await self._settle()
        while self.telling.waits:
            # What hears them may have something to say.
            self.telling.tell_all()
            await self._settle()
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self.lag.stop()
        self.doorkeeper.stop()
        self.telling.stop()
        self._logins.stop()
        self._committing.shutdown()

    async def _settle(self) -> None:
        """Does what the core decided, and what follows from it."""
        core = self.core
        while not self.failed.done() and (
            self._commit is not None or core.has_work or core.has_early or core.has_changes
        ):
            if self._commit is not None:
                await asyncio.wait([self._commit])
            self._flush()

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._unhurried is not None:
            self._unhurried.cancel()
            self._unhurried = None
        if self._commit is not None or self.failed.done():
            return
        turn = self.core.take_turn()
        self._write(turn.early)
        if not turn.changes or self.store is None:
            self._act(turn)
            return
        began = self.loop.time()
        self._commit = self.loop.run_in_executor(self._committing, self.store.commit, turn.changes)
        self._commit.add_done_callback(lambda commit: self._committed(turn, commit, began))
        self.wake()

    def _committed(self, turn: Turn, commit: asyncio.Future[None], began: float) -> None:
        self._commit = None
        try:
            commit.result()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing of the turn is durable
            self.fail(error)
            return
        now = self.loop.time()
        self.commit_durations.add(now - began)
        self._rested_at = now + REST_SECONDS
        self._act(turn)

    def _write_early(self) -> None:
        self._early_scheduled = False
        if not self.failed.done():
            self._write(self.core.take_early())
            self.wake()

    def _write(self, writes: list[Write]) -> None:
        for write in writes:
            connection = write.connection
            protocol = connection.transport
            assert isinstance(protocol, ClientProtocol)
            try:
                self.core.written(connection, protocol.write(write.data), self.loop.time())
            except Exception as error:  # noqa: BLE001 - it is told, and others get what is theirs
                self.core.failed(connection, error, self.loop.time())

    def _act(self, turn: Turn) -> None:
        self._write(turn.writes)
        for read in turn.reads:
            protocol = read.connection.transport
            assert isinstance(protocol, ClientProtocol)
            protocol.read(on=read.on)
        for close in turn.closes:
            protocol = close.connection.transport
            assert isinstance(protocol, ClientProtocol)
            protocol.close()
        for authentication in turn.authentications:
            try:
                self._logins.authenticate(authentication)
            except Exception as error:  # noqa: BLE001 - it is told, and others are asked as well
                self.core.failed(authentication.connection, error, self.loop.time())
        self.telling.tell(turn.notices)
        self._arm()
        self.wake()

    def _refuse(self, protocol: ClientProtocol, reason: str, *, limit: str) -> None:
        self.core.counters.connections_over_limit += 1
        one = Unwelcome(
            event="connection_refused",
            peer=str(protocol.origin),
            listener=protocol.listener_name,
            text=f"refused by limits.{limit}, {reason}",
            reason=reason,
        )
        self.doorkeeper.note(limit, one)

    def fail(self, error: Exception, *, event: str = "store_failed") -> None:
        """Everybody goes: what the core has decided is not stored, so nobody may hear of it, or
        something as bad.
        """
        LOG.critical(
            "%s: nothing more is acknowledged, the broker ends",
            error,
            extra=about(event, reason=str(error)),
        )
        self.failed.set_exception(error)
        for protocol in list(self._protocols):
            protocol.abort()

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is None or deadline >= self._tick_at:
            return
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._tick_at = deadline
        self._tick_handle = self.loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._tick_handle = None
        self._tick_at = float("inf")
        try:
            self.core.tick(self.loop.time())
        except Exception as error:  # noqa: BLE001 - what else is due is done in the next tick
            notice = Notice(
                client_id="a deadline",
                text=f"{type(error).__name__}: {error}",
                event=INTERNAL_ERROR,
                reason=str(error),
                warning=True,
                error=error,
            )
            self.telling.failed(notice)
        self._arm()
        self.wake()
