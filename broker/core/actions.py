"""What the core decides, for the shell to do: one ``Turn`` gathers all of a turn of the loop.

The shell calls the core with everything that arrived in one turn and then takes the ``Turn``: first
whatever must be durable before it may be acknowledged, then the bytes, then the closings. So an
acknowledgement leaves after the commit that it speaks of without the core knowing of either.

Messages at QoS 0 and 1 need not wait for it. Until its publisher has its acknowledgement, which
waits, a message that the broker's end takes along comes again, and a subscriber at QoS 1 may get it
twice. One at QoS 2 may not: its identifier must be known to whoever meets it again. So what a
connection is sent leaves ``early`` where there is nothing else among it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.core.connection import Connection, Leaves
from broker.core.facts import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """Find out who this is, and call ``Admitting.authenticated``, ``challenged`` or
    ``postponed``. No session was touched, unless a client renews its proof.

    ``method`` and ``data``: of MQTT 5.0's enhanced authentication (4.12), where the client asked
    for it; ``begins``: whether they begin an exchange or go on with one.
    """

    connection: Connection
    username: str | None
    password: bytes | None = field(repr=False)
    client_id: str
    method: str | None = None
    data: bytes | None = field(default=None, repr=False)
    begins: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """Write to the connection, and call ``Broker.written``."""

    connection: Connection
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the connection once its bytes are written."""

    connection: Connection
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Go on reading from the connection, or read nothing more until told to."""

    connection: Connection
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something for the log. ``warning``: somebody should look at it.

    ``event``: its kind, for programs. ``reason``: why, where ``text`` has it among other words.
    ``connection``: by which it came, where it is about one. ``client_id``: what a line begins with,
    the address where the client has no identifier yet. ``error``: of the server's own.
    """

    client_id: str
    text: str
    event: str = "notice"
    reason: str = ""
    connection: Connection | None = field(default=None, repr=False)
    warning: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class Turn:
    """Actions in the order in which they are to be done.

    ``early`` may be done at any time; ``changes`` must be durable before anything else of the turn
    is done. ``eager`` and ``dirty``: connections with ``out``, of which ``take`` makes ``early``
    and ``writes``; one that is in ``eager`` may have left, or may have to wait after all.
    """

    early: list[Write] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    writes: list[Write] = field(default_factory=list)
    authentications: list[Authenticate] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    eager: list[Connection] = field(default_factory=list)
    dirty: list[Connection] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is something that waits for the changes; what leaves early does not."""
        return bool(self.dirty or self.reads or self.authentications or self.closes or self.notices)

    def send(self, connection: Connection, data: bytes) -> None:
        """Appends to what the connection's client is sent, after the commit."""
        connection.out.append(data)
        connection.buffered_bytes += len(data)
        if connection.leaves is not Leaves.AFTER_THE_COMMIT:
            connection.leaves = Leaves.AFTER_THE_COMMIT
            self.dirty.append(connection)

    def read(self, connection: Connection) -> None:
        """Has the connection read from, unless there is a reason not to."""
        self.reads.append(Read(connection=connection, on=connection.is_read))

    def notice(
        self,
        connection: Connection,
        text: str,
        *,
        event: str = "notice",
        reason: str = "",
        warning: bool = False,
    ) -> None:
        """Something about a connection is for the log; see ``Notice``."""
        self.notices.append(
            Notice(
                client_id=connection.client_id or connection.peer,
                text=text,
                event=event,
                reason=reason,
                connection=connection,
                warning=warning,
            )
        )

    def take_early(self) -> list[Write]:
        """What may leave though a commit is under way."""
        eager, self.eager = self.eager, []
        return [
            Write(connection, connection.take_out())
            for connection in eager
            if connection.leaves is Leaves.EARLY
        ]

    def take(self, changes: Changes) -> Turn:
        """All of it with ``changes``; what comes next is another turn's."""
        taken = Turn(
            early=self.take_early(),
            changes=changes,
            writes=[Write(connection, connection.take_out()) for connection in self.dirty],
            authentications=self.authentications,
            closes=self.closes,
            notices=self.notices,
            reads=self.reads,
        )
        self.dirty, self.authentications, self.closes, self.notices = [], [], [], []
        self.reads = []
        return taken
