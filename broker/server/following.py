"""What changes in the directory takes effect for those who are connected, too, within a second.

Twice a second a thread asks the directory what has changed, by this process or another. Whoever
that is about, and is connected, is looked up anew: it gets its new rights, or must go. A login that
was being proved meanwhile may rest on what was before. So for a while after a change, whoever comes
and is one of those is looked up once more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from broker.auth.certificates import still_vouches
from broker.auth.identity import (
    ANONYMOUS,
    PROXY,
    Authority,
    Directory,
    DirectoryChanges,
    Identity,
    Login,
)
from broker.core.broker import Broker
from broker.core.connection import Connection
from broker.errors import RegistryError

LOG = logging.getLogger("broker")

POLL_SECONDS = 0.5

_NAMES_AT_ONCE = 500

RECENT_SECONDS = 60.0
"""For how long a login may have been under way that began before a change."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the directory says of some, as of one moment."""

    identities: Mapping[str, Identity]
    authorities: Mapping[str, Authority]


class Following:
    """Follows one directory. Everything but the questions to it happens in the event loop.

    Args:
      forget: is told whose proofs must not be remembered; None: nobody's.
      wake: sees to it that what the core decided is done.
      wall: seconds since the epoch.
    """

    def __init__(
        self,
        directory: Directory,
        core: Broker,
        *,
        forget: Callable[[frozenset[str] | None], None],
        wake: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._core = core
        self._forget = forget
        self._wake = wake
        self._loop = loop
        self._wall = wall
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._version = 0
        self._recent: dict[str | None, float] = {}
        self._looked_up: set[Connection] = set()
        self._complaint: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins with what the directory holds now. Raises RegistryError: it can't be asked."""
        self._version = (await self._changes()).version
        self._task = self._loop.create_task(self._follow())

    async def stop(self) -> None:
        """Asks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look()
            except RegistryError as error:
                # What was answered before holds; said once, however long it lasts.
                if self._complaint != str(error):
                    LOG.error("%s; changes are not seen until it can be", error)
                    self._complaint = str(error)
            else:
                if self._complaint is not None:
                    LOG.warning("the registry can be read again")
                    self._complaint = None

    async def _look(self) -> None:
        try:
            changes = await self._changes()
        except RegistryError:
            # A file that is wrong by now still answers by what was read before.
            await self._look_up()
            raise
        if changes.names is None or changes.names:
            self._note(changes.names)
        # Whoever must be looked up is remembered by now: an error from here on loses nobody.
        self._version = changes.version
        await self._look_up()

    async def _look_up(self) -> None:
        due = self._due()
        if not due:
            return
        by_name: dict[str, list[Connection]] = {}
        for connection in due:
            assert connection.principal is not None
            by_name.setdefault(connection.principal.name, []).append(connection)
        left = iter(sorted(by_name))
        # Some at a time: the first need not wait for the last, and the loop for none of them.
        while names := list(islice(left, _NAMES_AT_ONCE)):
            known = await self._loop.run_in_executor(self._threads, self._ask, names)
            for connection in (each for name in names for each in by_name[name]):
                self._looked_up.add(connection)
                self._apply(connection, known)
            self._wake()

    async def _changes(self) -> DirectoryChanges:
        return await self._loop.run_in_executor(
            self._threads, self._directory.changes, self._version
        )

    def _ask(self, names: Sequence[str]) -> _Known:
        authorities = {each.id: each for each in self._directory.authorities()}
        return _Known(self._directory.find_many(names), authorities)

    def _note(self, names: frozenset[str] | None) -> None:
        self._forget(names)
        until = self._loop.time() + RECENT_SECONDS
        self._recent.update({None: until} if names is None else dict.fromkeys(names, until))
        self._looked_up = {
            connection
            for connection in self._looked_up
            if names is not None and connection.principal and connection.principal.name not in names
        }

    def _due(self) -> list[Connection]:
        """Who is connected, is one of those, and wasn't looked up since."""
        now = self._loop.time()
        self._recent = {name: until for name, until in self._recent.items() if until > now}
        self._looked_up &= self._core.connections if self._recent else set()
        if not self._recent:
            return []
        return [
            connection
            for connection in self._core.connections
            if connection.principal is not None
            and (None in self._recent or connection.principal.name in self._recent)
            and connection not in self._looked_up
        ]

    def _apply(self, connection: Connection, known: _Known) -> None:
        login, now = connection.login, self._loop.time()
        if login is None:
            return
        identity = known.identities.get(login.principal.name)
        standing = judge(login, identity, known.authorities, self._wall())
        if isinstance(standing, str):
            self._core.admitting.expel(connection, standing, now)
        else:
            until = None if standing.until is None else now + standing.until - self._wall()
            self._core.admitting.permit(connection, standing, now, until=until)


def judge(
    login: Login, identity: Identity | None, authorities: Mapping[str, Authority], now: float
) -> Login | str:
    """What a login is worth by what the directory says now: a login, or why it is worth nothing.

    ``now``: seconds since the epoch.
    """
    if identity is None:
        return "it was removed from the registry"
    if identity.blocked:
        return "it is blocked"
    renewed = replace(login, principal=identity.principal)
    if login.credential in (ANONYMOUS, PROXY):
        return renewed
    if login.vouched is not None:
        authority = authorities.get(login.credential)
        if authority is None or not still_vouches(authority, login.vouched, now):
            return "the authority of its certificate does not stand by it any more"
        validity = authority.validity
    else:
        validities = {each.id: each.validity for each in identity.credentials}
        if not (login.credential in validities and validities[login.credential].holds(now)):
            return "the credential that it logged in with is not valid any more"
        validity = validities[login.credential]
    ends = [each for each in (login.until, validity.not_after) if each is not None]
    return replace(renewed, until=min(ends, default=None))
