"""Drives the core with packets and reads what it sends, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    Packet,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
)

from broker.auth.identity import Login
from broker.auth.principal import Grant, Principal, PrincipalKind, Rights, Rules
from broker.core.actions import Authenticate
from broker.core.broker import Broker
from broker.core.connection import Connection
from broker.core.limits import Limits
from broker.store import SqliteStore, Synchronous
from mqtt import topics
from mqtt.codec import Decoder, ProtocolVersion, encode

P = TypeVar("P")

CORE_TO_WALL = 1_700_000_000.0

V311, V5 = ProtocolVersion.V311, ProtocolVersion.V5
ALL = Rules(allow=(topics.TopicFilter("#"), topics.TopicFilter("$test/#")))
NEVER = 0xFFFFFFFF


def open_store(
    path: Path, *, core_to_wall: float = CORE_TO_WALL, log_bytes: int = 1_000
) -> SqliteStore:
    """A store whose log is so short that messages leave it for their tables all the time."""
    return SqliteStore(
        path,
        synchronous=Synchronous.NORMAL,
        core_to_wall=core_to_wall,
        log_bytes=log_bytes,
    )


def service(name: str = "tester", *, rights: Rights | None = None, prefix: str = "c") -> Principal:
    """A service with all rights, whose client ids begin with ``prefix``."""
    return Principal(
        name=name,
        kind=PrincipalKind.SERVICE,
        client_id=prefix,
        grants=(grant(rights),),
    )


def grant(rights: Rights | None) -> Grant:
    return Grant(role="role", rights=rights or Rights(publish=ALL, subscribe=ALL, will=ALL))


def device(name: str, *, rights: Rights | None = None) -> Principal:
    return Principal(
        name=name,
        kind=PrincipalKind.DEVICE,
        client_id=name,
        grants=(grant(rights),),
    )


def login(principal: Principal | None) -> Login | None:
    """What a principal proves when it proves itself."""
    return None if principal is None else Login(principal=principal, credential="password")


class Client:
    """One connection: sends packets into the core and keeps what comes back in ``inbox``."""

    def __init__(self, house: House, protocol: ProtocolVersion) -> None:
        self.house = house
        self.protocol = protocol
        self.connection: Connection = house.core.opened("peer", house.now)
        self.connection.transport = self
        self._decoder = Decoder(protocol=protocol)
        self.inbox: list[Packet] = []
        self.closed: str | None = None
        self.reads = True
        self.reading = True

    def send(self, packet: Packet) -> None:
        self.send_bytes(encode(packet, self.protocol))

    def send_bytes(self, data: bytes) -> None:
        self.house.core.feed(self.connection, data, self.house.now)
        self.house.settle()

    def deliver(self, data: bytes) -> None:
        self.inbox += self._decoder.feed(data)

    def take(self, kind: type[P]) -> list[P]:
        """Takes the packets of one kind out of the inbox, in order."""
        found: list[P] = [packet for packet in self.inbox if isinstance(packet, kind)]
        self.inbox = [packet for packet in self.inbox if not isinstance(packet, kind)]
        return found

    def one(self, kind: type[P]) -> P:
        found = self.take(kind)
        assert len(found) == 1, f"{len(found)} of {kind.__name__}; left: {self.inbox}"
        return found[0]

    def payloads(self) -> list[bytes]:
        """Payloads of the messages that came, acknowledging nothing."""
        return [packet.payload for packet in self.take(PublishPacket)]

    def subscribe(
        self, *patterns: str, qos: int = 1, identifier: int | None = None, **options: Any
    ) -> list[int]:
        filters = [
            TopicFilter(p, **({"max_qos": QoS(qos), "retain_as_published": False} | options))
            for p in patterns
        ]
        self.send(SubscribePacket(7, filters, subscription_id=identifier))
        return [int(code) for code in self.one(SubAckPacket).reason_codes]

    def publish(self, topic: str, payload: bytes = b"x", *, qos: int = 0, **options: Any) -> None:
        options.setdefault("packet_id", next(self.house.ids) if qos else None)
        self.send(PublishPacket(topic, payload, qos=QoS(qos), **options))

    def acknowledge(self, packet: PublishPacket) -> None:
        assert packet.packet_id is not None
        self.send(PubAckPacket(packet.packet_id))

    def drop(self) -> None:
        """The network connection breaks."""
        self.house.core.lost(self.connection, self.house.now, "test")
        self.closed = "lost"
        self.house.settle()


class House:
    """A core, a clock, and principals for the clients that come; ``store``: a file, for one.

    ``may_fail``: an error of the core's own is not the test's.
    """

    def __init__(self, *, store: Path | None = None, **limits: Any) -> None:
        self.now = 1_000.0
        self.limits = Limits(**limits)
        self.store = None if store is None else open_store(store)
        self.core = self._new_core()
        self.ids = count(100)
        self.principals: dict[str | None, Principal | None] = {None: service()}
        self.answer_logins = True
        self.logins: list[Authenticate] = []
        self.notices: list[str] = []
        self.may_fail = False

    def crash(self, *, removed: Collection[str] = ()) -> None:
        """The process is killed, and the next one takes up what the store holds."""
        assert self.store is not None
        self.core = self._new_core()
        principals = {each.name: each for each in self.principals.values() if each is not None}
        self.core.restore(self.store.load(), self.now, removed=removed, principals=principals)
        self.settle()

    def _new_core(self) -> Broker:
        return Broker(
            limits=self.limits,
            new_token=map(str, count()).__next__,
            durable=self.store is not None,
            methods=("TEST", "OTHER"),
        )

    def settle(self) -> None:
        """Does what the core decided until it has nothing more to say."""
        while self.core.has_work or self.core.has_early or self.core.has_changes:
            turn = self.core.take_turn()
            if self.store is not None and turn.changes:
                self.store.commit(turn.changes)
            for write in turn.early + turn.writes:
                connection = write.connection
                client = connection.transport
                assert isinstance(client, Client)
                if client.closed is None:
                    client.deliver(write.data)
                unwritten = 0 if client.reads else connection.buffered_bytes
                self.core.written(connection, unwritten, self.now)
            for read in turn.reads:
                client = read.connection.transport
                assert isinstance(client, Client)
                client.reading = read.on
            for close in turn.closes:
                client = close.connection.transport
                assert isinstance(client, Client)
                client.closed = close.reason
            for request in turn.authentications:
                self.logins.append(request)
                if self.answer_logins:
                    principal = self.principals.get(request.username)
                    self.core.admitting.authenticated(
                        request.connection, login(principal), self.now
                    )
            for notice in turn.notices:
                if notice.error is not None and not self.may_fail:
                    raise notice.error
            self.notices += [f"{notice.client_id}: {notice.text}" for notice in turn.notices]

    def wait(self, seconds: float) -> None:
        """Time passes, deadline by deadline."""
        end = self.now + seconds
        while (deadline := self.core.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.core.tick(self.now)
            self.settle()
        self.now = end
        self.core.tick(end)
        self.settle()

    def open(self, protocol: ProtocolVersion = V5) -> Client:
        """A connection without CONNECT."""
        return Client(self, protocol)

    def connect(
        self, client_id: str = "c", protocol: ProtocolVersion = V5, **options: Any
    ) -> Client:
        """A connected client with a clean session, unless the options say otherwise."""
        client = self.open(protocol)
        options.setdefault("clean_start", True)
        client.send(ConnectPacket(client_id, **options))
        answers = [packet for packet in client.inbox if isinstance(packet, ConnAckPacket)]
        assert answers, f"no CONNACK; closed: {client.closed}"
        assert int(answers[0].reason_code) == 0, self.notices
        return client

    def resume(
        self, client_id: str = "c", protocol: ProtocolVersion = V5, **options: Any
    ) -> Client:
        """A connected client with a session that lasts, resumed if it is there."""
        options = {"clean_start": False, "session_expiry_interval": 3_600} | options
        return self.connect(client_id, protocol, **options)
