"""What changes in the directory takes effect for those who are connected, too, within a second.

Several times a second a thread asks the directory what has changed, by this process or another.
Whoever that is about, and is connected, is looked up anew: it gets its new rights, or must go.
Where a role has other rights, it alone is read, and given to all who hold it: ten thousand can. A
login that was being proved meanwhile may rest on what was before: ``broker.server.logins`` looks it
up anew before it lets it in. So who comes behind a change is not concerned by it.

Whoever was removed leaves nothing: sessions of those who are away end, too. So it is where the name
is somebody else's already: who comes in by it before the removal was seen must come once more.

Who must go is expelled in the core at once, which takes microseconds: nothing of it is handled any
more, and nothing is sent to it. It is told so afterwards, which takes a hundred times as long (a
DISCONNECT, a line in the log, an event), while the next changes are followed already.

All of it is done in slices, between which clients are served. Until its turn has come a connection
has the rights that it had.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

from broker.auth.identity import Authority, Directory, DirectoryChanges, Login, Standing
from broker.auth.judging import judge
from broker.auth.principal import Principal, Rights
from broker.core.broker import Broker
from broker.core.connection import REMOVED, Connection
from broker.core.session import Session
from broker.errors import RegistryError

LOG = logging.getLogger("broker")

Thing = TypeVar("Thing")

POLL_SECONDS = 0.15
"""A look costs a database one small query, or a stat of each file."""

SLICE_SECONDS = 0.005
"""After so long the loop is left to others."""

TELLING_SECONDS = 0.002
"""The same where each is told: what a slice has decided is done next, and takes several times as
long.
"""

_NAMES_AT_ONCE = 5_000
"""What is known of so many is some megabytes, and read by a hundredth of a second."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the directory says of some, as of one moment."""

    standings: Mapping[str, Standing]
    authorities: Mapping[str, Authority]


class Following:
    """Follows one directory. Everything but the questions to it happens in the event loop.

    Args:
      forget: is told by what changes proofs must not be remembered.
      failed: gets an error that nobody foresaw: changes are not followed any more.
      wake: sees to it that what the core decided is done.
      wall: seconds since the epoch.
    """

    def __init__(
        self,
        directory: Directory,
        core: Broker,
        *,
        forget: Callable[[DirectoryChanges], None],
        failed: Callable[[RegistryError], None],
        wake: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._core = core
        self._forget = forget
        self._failed = failed
        self._wake = wake
        self._loop = loop
        self._wall = wall
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._version = 0
        self._to_look_up: set[Connection] = set()
        self._to_regrant: set[Connection] = set()
        self._expelled: deque[Connection] = deque()
        self._is_anyone_expelled = asyncio.Event()
        self._left: set[str] = set()
        self._maybe_removed = _NOTHING
        self._of_removed: set[Session] = set()
        self._unsuited = _NOTHING
        self._complaint: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, version: int) -> None:
        """Begins with what came after that version of the directory."""
        self._version = version
        for work in (self._follow(), self._tell_expelled()):
            task = self._loop.create_task(work)
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    @property
    def is_answered(self) -> bool:
        """Whether the directory could be read when it was last asked."""
        return self._complaint is None

    async def stop(self) -> None:
        """Asks no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Who must go would stay for good.
            problem = RegistryError(f"changes in the registry can't be followed: {error!r}")
            problem.__cause__ = error
            self._failed(problem)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look()
            except RegistryError as error:
                # What was answered before holds; said once, however long it lasts.
                if self._complaint != str(error):
                    for line in str(error).splitlines():
                        LOG.error("%s; changes are not seen until this is mended", line)
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
        if changes:
            self._note(changes)
        # Whoever must be looked up is remembered by now: an error from here on loses nobody.
        self._version = changes.version
        await self._look_up()

    async def _look_up(self) -> None:
        if self._of_removed:
            await self._end_of_namesakes()
        self._to_look_up &= self._core.connections
        if self._to_look_up:
            await self._look_up_all()
        if self._to_regrant:
            await self._regrant()
        names, self._left = frozenset(self._left), set()
        if names:
            self._maybe_removed |= DirectoryChanges(version=0, names=names)
        if self._maybe_removed:
            await self._remove()
        if self._unsuited:
            await self._suit_those_away()

    async def _look_up_all(self) -> None:
        by_name: dict[str, list[tuple[Connection, Login]]] = {}
        for connection in self._to_look_up:
            login = connection.login
            assert login is not None
            by_name.setdefault(login.principal.name, []).append((connection, login))
        left = iter(sorted(by_name))
        try:
            while names := list(islice(left, _NAMES_AT_ONCE)):
                known = await self._loop.run_in_executor(self._threads, self._ask, names)
                connections = [each for name in names for each in by_name[name]]
                await self._in_slices(connections, partial(self._apply, known))
        finally:
            # Only now: the last is expelled before the first is told.
            if self._expelled:
                self._is_anyone_expelled.set()

    async def _tell_expelled(self) -> None:
        while True:
            await self._is_anyone_expelled.wait()
            self._is_anyone_expelled.clear()
            await self._in_slices(self._next_expelled(), self._tell, TELLING_SECONDS)

    def _next_expelled(self) -> Iterator[Connection]:
        while self._expelled:
            yield self._expelled.popleft()

    def _tell(self, connection: Connection) -> None:
        self._core.admitting.tell_expelled(connection, self._loop.time())
        if connection.expelled == REMOVED and connection.login is not None:
            # By now it is away, and leaves no session either.
            self._left.add(connection.login.principal.name)

    async def _regrant(self) -> None:
        rights = await self._loop.run_in_executor(self._threads, self._directory.rights)
        # Read after the change was noted, so it is no older than what any of these has.
        connections, self._to_regrant = self._to_regrant & self._core.connections, set()
        await self._in_slices(connections, partial(self._give, rights))

    async def _remove(self) -> None:
        """Ends sessions whose owners are nobody any more, and away; who is here is looked up."""
        names = self._maybe_removed.names
        away = (each for each in self._core.sessions if each.connection is None)
        owners = {each.owner for each in away if names is None or each.owner in names}
        removed = await self._loop.run_in_executor(self._threads, unknown, self._directory, owners)
        self._maybe_removed = _NOTHING
        sessions = [each for each in self._core.sessions if each.owner in removed]
        await self._in_slices(sessions, self._end_if_away)

    async def _end_of_namesakes(self) -> None:
        """Ends sessions whose owner was removed, and whose name is somebody else's by now."""
        names = {each.owner for each in self._of_removed}
        found = await self._loop.run_in_executor(self._threads, principals, self._directory, names)
        sessions, self._of_removed = self._of_removed, set()
        # The others are ended below: if there is nobody at all, not even they are.
        await self._in_slices((each for each in sessions if each.owner in found), self._end)

    def _end(self, session: Session) -> None:
        connection = session.connection
        if connection is not None and self._core.sessions.get(session.client_id) is session:
            self._core.admitting.expel(connection, REMOVED, principal=None)
            self._core.admitting.tell_expelled(connection, self._loop.time())
        self._end_if_away(session)

    async def _suit_those_away(self) -> None:
        """What those have left who are away, and may have other rights by now."""
        names = None if self._unsuited.roles else self._unsuited.names
        sessions: dict[str, list[Session]] = {}
        for each in self._core.sessions:
            is_concerned = each.connection is None and (names is None or each.owner in names)
            if is_concerned and self._core.admitting.rests_on_rights(each):
                sessions.setdefault(each.owner, []).append(each)
        left = iter(sorted(sessions))
        while some := list(islice(left, _NAMES_AT_ONCE)):
            known = await self._loop.run_in_executor(self._threads, self._ask, some)
            principals = {name: each.principal for name, each in known.standings.items()}
            concerned = [(each, principals.get(name)) for name in some for each in sessions[name]]
            await self._in_slices(concerned, self._suit)
        self._unsuited = _NOTHING

    def _suit(self, concerned: tuple[Session, Principal | None]) -> None:
        session, principal = concerned
        if self._core.sessions.get(session.client_id) is session:
            self._core.admitting.suit_away(session, principal, self._loop.time())

    def _end_if_away(self, session: Session) -> None:
        if session.connection is None and self._core.sessions.get(session.client_id) is session:
            self._core.admitting.end_session_of_removed(session, self._loop.time())

    async def _in_slices(
        self, things: Iterable[Thing], step: Callable[[Thing], None], seconds: float = SLICE_SECONDS
    ) -> None:
        ends = self._loop.time() + seconds
        for thing in things:
            step(thing)
            if self._loop.time() >= ends:
                self._wake()
                await asyncio.sleep(0)
                ends = self._loop.time() + seconds
        self._wake()

    async def _changes(self) -> DirectoryChanges:
        return await self._loop.run_in_executor(
            self._threads, self._directory.changes, self._version
        )

    def _ask(self, names: Sequence[str]) -> _Known:
        authorities = {each.id: each for each in self._directory.authorities()}
        return _Known(self._directory.standings(names), authorities)

    def _note(self, changes: DirectoryChanges) -> None:
        # From here on no login is taken that began before.
        self._forget(changes)
        for each in self._core.connections:
            login = each.login
            if login is None:
                continue
            if changes.concern(login):
                self._to_look_up.add(each)
            elif changes.concern_rights(login.principal):
                self._to_regrant.add(each)
        # Who is looked up has the rights of that moment.
        self._to_regrant -= self._to_look_up
        if changes.removed:
            of_removed = (each for each in self._core.sessions if each.owner in changes.removed)
            self._of_removed.update(of_removed)
        if changes.names != frozenset():
            self._maybe_removed |= changes
        self._unsuited |= changes

    def _apply(self, known: _Known, concerned: tuple[Connection, Login]) -> None:
        connection, login = concerned
        self._to_look_up.discard(connection)
        if connection.login is not login:
            # It has proved itself anew meanwhile, and that is of now.
            return
        standing = known.standings.get(login.principal.name)
        judged: Login | str = REMOVED
        if standing is not None:
            judged = judge(login, standing, known.authorities, self._wall())
        if isinstance(judged, str):
            principal = None if standing is None else standing.principal
            self._core.admitting.expel(connection, judged, principal=principal)
            self._expelled.append(connection)
        elif judged != login:
            self._permit(connection, judged)

    def _give(self, rights: Mapping[str, Rights], connection: Connection) -> None:
        login = connection.login
        if login is None or not all(each.role in rights for each in login.principal.grants):
            # Nobody holds a role that is gone: there was another change, and it is looked up.
            return
        regranted = login.principal.regranted(rights)
        if regranted != login.principal:
            self._permit(connection, replace(login, principal=regranted))

    def _permit(self, connection: Connection, login: Login) -> None:
        now = self._loop.time()
        until = None if login.until is None else now + login.until - self._wall()
        self._core.admitting.permit(connection, login, now, until=until)


_NOTHING = DirectoryChanges(version=0)


def unknown(directory: Directory, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that nobody bears; may block.

    Raises:
      RegistryError: the directory can't answer now.
    """
    left, found = iter(sorted(names)), frozenset[str]()
    while some := list(islice(left, _NAMES_AT_ONCE)):
        found |= directory.unknown(some)
    return found


def principals(directory: Directory, names: Iterable[str]) -> dict[str, Principal]:
    """Those of the names that somebody bears, and who that is; may block.

    Raises:
      RegistryError: the directory can't answer now.
    """
    left, found = iter(sorted(names)), dict[str, Principal]()
    while some := list(islice(left, _NAMES_AT_ONCE)):
        standings = directory.standings(some)
        found.update((name, standing.principal) for name, standing in standings.items())
    return found
