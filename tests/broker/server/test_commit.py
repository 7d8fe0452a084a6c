"""The commit comes before whatever speaks of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mqtt5 import (
    ConnectPacket,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubscribePacket,
    TopicFilter,
)

from broker.config import StoreConfig
from broker.core.facts import Changes
from broker.core.limits import KIB, MIB, Limits
from broker.store import SqliteStore, Synchronous
from tests.broker.core.harness import open_store
from tests.broker.server.conftest import Running


@contextmanager
def logged_in(broker: Running, user: str, client_id: str) -> Iterator[socket.socket]:
    password = broker.passwords[user].encode()
    connect = ConnectPacket(
        client_id,
        username=user,
        password=password,
        clean_start=False,
        session_expiry_interval=3_600,
    )
    with socket.create_connection(("127.0.0.1", broker.port), timeout=10) as sock:
        sock.sendall(connect.write())
        assert sock.recv(1_000)[0] == 0x20
        yield sock


@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_acknowledged_before_its_commit_is_done(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qos: int
) -> None:
    """And no message leaves at QoS 2; at QoS 1 it does, for it may come twice."""
    broker = start(store=StoreConfig(file=tmp_path / "broker.db"))
    begun, may_go_on = threading.Event(), threading.Event()
    real = SqliteStore.commit

    def slow(store: SqliteStore, changes: Changes) -> None:
        begun.set()
        assert may_go_on.wait(10)
        real(store, changes)

    with logged_in(broker, "tele", "tele-1") as reader, logged_in(broker, "d1", "d1") as writer:
        pattern = TopicFilter("devices/+/telemetry/#", max_qos=QoS(qos))
        reader.sendall(SubscribePacket(1, [pattern]).write())
        assert reader.recv(1_000)[0] == 0x90
        monkeypatch.setattr(SqliteStore, "commit", slow)
        writer.sendall(
            PublishPacket("devices/d1/telemetry", b"x", qos=QoS(qos), packet_id=1).write()
        )
        assert begun.wait(10)
        if qos == 1:
            assert reader.recv(1_000)[0] >> 4 == 3
        for sock in (writer,) if qos == 1 else (reader, writer):
            sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(10)
        may_go_on.set()
        assert writer.recv(1_000)[0] >> 4 == (4 if qos == 1 else 5)
        if qos == 2:
            assert reader.recv(1_000)[0] >> 4 == 3


@pytest.mark.parametrize(("synchronous", "level"), [(Synchronous.FULL, 2), (Synchronous.NORMAL, 1)])
def test_a_commit_is_on_the_disk_when_it_is_done_unless_asked_otherwise(
    tmp_path: Path, synchronous: Synchronous, level: int
) -> None:
    store = SqliteStore(tmp_path / "store.db", synchronous=synchronous, core_to_wall=0.0)
    try:
        asked = store._database.execute("PRAGMA synchronous").fetchone()
        mode = store._database.execute("PRAGMA journal_mode").fetchone()
    finally:
        store.close()
    assert (asked, mode) == ((level,), ("wal",))


def test_what_comes_within_the_commit_s_delay_is_one_commit(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start(store=StoreConfig(file=tmp_path / "broker.db", commit_delay_ms=300))
    commits: list[int] = []
    real = SqliteStore.commit

    def counted(store: SqliteStore, changes: Changes) -> None:
        commits.append(len(changes.retained))
        real(store, changes)

    with logged_in(broker, "cmd", "cmd-1") as writer:
        monkeypatch.setattr(SqliteStore, "commit", counted)
        for number in (1, 2, 3):
            packet = PublishPacket(
                f"devices/d{number}/config", b"x", qos=QoS(1), packet_id=number, retain=True
            )
            writer.sendall(packet.write())
        got = b""
        while len(got) < 3 * len(PubAckPacket(1).write()):
            got += writer.recv(1_000)
    assert commits[0] == 3
    broker.call(broker.server.stop())
    kept = open_store(tmp_path / "broker.db")
    assert len(kept.load().retained) == 3
    kept.close()


def test_a_client_is_not_read_from_while_too_many_answers_wait_for_a_commit(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may take its time; what clients send meanwhile costs no more than it may."""
    limits = Limits(write_buffer_bytes=16 * KIB)
    broker = start(store=StoreConfig(file=tmp_path / "broker.db"), limits=limits)
    begun, may_go_on = threading.Event(), threading.Event()
    real = SqliteStore.commit

    def slow(store: SqliteStore, changes: Changes) -> None:
        begun.set()
        assert may_go_on.wait(20)
        real(store, changes)

    with logged_in(broker, "cmd", "cmd-1") as writer, logged_in(broker, "tele", "tele-1") as eager:
        monkeypatch.setattr(SqliteStore, "commit", slow)
        writer.sendall(
            PublishPacket("devices/d1/config", b"x", qos=QoS(1), packet_id=1, retain=True).write()
        )
        assert begun.wait(10)
        before = broker.server.core.budget.used_bytes
        sent = send_until_nothing_is_taken(eager, PingReqPacket().write() * 50_000)
        connection = next(
            each for each in broker.server.core.connections if each.client_id == "tele-1"
        )
        # One read may bring 256 KiB.
        assert len(connection.out) < 200_000
        assert broker.server.core.budget.used_bytes - before < 2 * MIB
        may_go_on.set()
        eager.settimeout(10)
        answers = sent // 2 * len(PingRespPacket().write())
        while answers:
            answers -= len(eager.recv(1 * MIB))
        assert writer.recv(1_000)[0] >> 4 == 4
        eager.sendall((PingReqPacket().write() * 2)[sent % 2 :])
        assert eager.recv(1)


def send_until_nothing_is_taken(sock: socket.socket, data: bytes) -> int:
    sent = 0
    sock.settimeout(1)
    try:
        while sent < 200 * MIB:
            sent += sock.send(data)
    except TimeoutError:
        return sent
    raise AssertionError("the server reads on")
