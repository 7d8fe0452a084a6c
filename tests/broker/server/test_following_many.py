"""A change is in effect within a second for a thousand who are connected, and holds nobody up."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)
from sqlalchemy import Engine, event

from broker.core.broker import Broker
from broker.core.connection import State
from broker.registry.entries import Content, Entry
from broker.registry.registry_url import registry_url
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from broker.server.open_files import allow_open_files
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw
from tests.broker.server.registry_changes import NOT_AUTHORIZED, SECOND, password

COUNT = 1_000
AT_ONCE = 200
LONGEST_SECONDS = 0.06
"""For how long at most the event loop may be held, by its thread's CPU time."""

BEFORE = Patterns(allow=("%device/a", "%device/b"))
AFTER = Patterns(allow=("%device/b",))

MOST_STATEMENTS = 20
"""That the registry is asked for any number of devices, transactions and all."""


@pytest.fixture(scope="module")
def content() -> Content:
    [made] = (password("all/1"),)
    entries = {
        name: Entry(name=name, role="meter", credentials=(replace(made, id=f"{name}/1"),))
        for name in (f"d{number:04d}" for number in range(COUNT))
    }
    roles = {
        "meter": Role(publish=BEFORE, subscribe=BEFORE),
        "less": Role(publish=AFTER, subscribe=AFTER),
    }
    return Content(entries=entries, roles=roles)


@pytest.fixture
def registry(tmp_path: Path, content: Content) -> Iterator[SqlRegistry]:
    registry = SqlRegistry(registry_url("sqlite:///many.db", folder=tmp_path))
    registry.take_in(content)
    yield registry
    registry.close()


@pytest.fixture
def broker(registry: SqlRegistry, start: Callable[..., Running], tmp_path: Path) -> Running:
    url = registry_url("sqlite:///many.db", folder=tmp_path)
    return start(registry_file=None, registry_url=url)


@pytest.fixture
def clients(broker: Running, content: Content) -> Iterator[Mapping[str, Raw]]:
    """All devices, connected and subscribed."""
    allow_open_files(2 * COUNT + 500)
    clients: dict[str, Raw] = {}
    with ExitStack() as stack:
        names = list(content.entries)
        for first in range(0, COUNT, AT_ONCE):
            some = names[first : first + AT_ONCE]
            for name in some:
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", broker.port)))
                clients[name] = client = Raw(sock)
                client.send(ConnectPacket(name, username=name, password=b"right"))
                client.send(SubscribePacket(1, [TopicFilter(f"{name}/{each}") for each in "ab"]))
            for name in some:
                assert [int(getattr(clients[name].next(), "reason_code", 0)) for _ in "12"] == [
                    0,
                    0,
                ]
        yield clients


@contextmanager
def never_held_long(broker: Running) -> Iterator[None]:
    """The event loop comes round again before it has worked for long."""
    worked: list[float] = []

    async def watch() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            worked.append(now - before)
            before = now

    # Of all that the tests hold, not the broker.
    gc.disable()
    watching = asyncio.run_coroutine_threadsafe(watch(), broker.loop)
    try:
        yield
    finally:
        watching.cancel()
        gc.enable()
    assert max(worked) < LONGEST_SECONDS


@contextmanager
def asked() -> Iterator[list[str]]:
    """The statements by which the broker asks the registry who is concerned by what changed."""
    statements: list[str] = []

    def hear(connection: object, cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name.startswith("directory"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def whose(statements: list[str]) -> list[str]:
    """Those that are about devices, not about whether anything has changed."""
    return [each for each in statements if "members" in each or "credentials" in each]


@contextmanager
def never_both(core: Broker, broker: Running) -> Iterator[None]:
    """Nobody is told that it must go while another still is served."""
    concerned = list(core.connections)
    seen: list[set[State]] = []

    async def watch() -> None:
        while True:
            seen.append({each.state for each in concerned})
            await asyncio.sleep(0)

    watching = asyncio.run_coroutine_threadsafe(watch(), broker.loop)
    try:
        yield
    finally:
        watching.cancel()
    assert not [states for states in seen if {State.CONNECTED, State.CLOSED} <= states]
    assert any(State.EXPELLED in states for states in seen)


def test_a_role_that_a_thousand_share_is_another_within_a_second(
    broker: Running,
    registry: SqlRegistry,
    clients: Mapping[str, Raw],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with never_held_long(broker), asked() as statements:
        registry.put_role("meter", Role(publish=AFTER, subscribe=AFTER))
        time.sleep(SECOND)
    assert whose(statements) == []
    assert_only_b_is_left(broker, clients)
    eventually(lambda: caplog.text.count("sleeps: not allowed any more") == COUNT)


def test_a_thousand_that_get_another_role_each_have_it_by_a_few_questions(
    broker: Running, registry: SqlRegistry, clients: Mapping[str, Raw], content: Content
) -> None:
    entries = {name: replace(entry, role="less") for name, entry in content.entries.items()}
    with never_held_long(broker), asked() as statements:
        registry.take_in(Content(entries=entries))
        time.sleep(SECOND)
    assert 0 < len(whose(statements)) < MOST_STATEMENTS
    assert_only_b_is_left(broker, clients)


def test_of_a_thousand_that_must_go_the_last_is_not_served_any_more_when_the_first_is_told(
    broker: Running, registry: SqlRegistry, clients: Mapping[str, Raw], content: Content
) -> None:
    names = list(content.entries)
    blocked = {name: replace(content.entries[name], blocked=True) for name in names[::2]}
    others = {
        name: replace(content.entries[name], credentials=(password(f"{name}/2"),))
        for name in names[1:20:2]
    }
    after = replace(content, entries={**blocked, **others})
    with never_both(broker.server.core, broker), asked() as statements:
        registry.take_in(after, instead=True)
        eventually(lambda: not broker.server.core.connections)
    assert 0 < len(whose(statements)) < MOST_STATEMENTS
    for name, client in clients.items():
        packet = client.next()
        assert isinstance(packet, DisconnectPacket)
        word = "blocked" if name in blocked else "credential" if name in others else "removed"
        assert word in str(packet.reason_str)
    eventually(lambda: not len(broker.server.core.sessions))


def assert_only_b_is_left(broker: Running, clients: Mapping[str, Raw]) -> None:
    for name, client in clients.items():
        for packet_id, topic in ((7, f"{name}/a"), (8, f"{name}/b")):
            client.send(PublishPacket(topic, b"", qos=QoS.AT_LEAST_ONCE, packet_id=packet_id))
        session = broker.server.core.sessions.get(name)
        assert session is not None
        assert list(session.subscriptions) == [f"{name}/b"]
    codes: dict[int, set[int]] = {}
    for client in clients.values():
        for _ in range(3):
            packet = client.next()
            if isinstance(packet, PubAckPacket):
                codes.setdefault(packet.packet_id, set()).add(int(packet.reason_code))
    assert codes == {7: {NOT_AUTHORIZED}, 8: {0}}
