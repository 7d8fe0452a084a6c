"""A change in the registry is in effect within a second: for who is connected, and who comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mqtt5 import (
    DisconnectPacket,
)

from broker.auth.identity import Validity
from broker.auth.password_hash import PasswordHash
from broker.errors import RegistryError
from broker.registry.entries import Entry
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.registry.contents import CHEAP
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import Raw, process, raw
from tests.broker.server.registry_changes import (
    NOT_AUTHORIZED,
    SECOND,
    broker,
    changed,
    connect,
    connected,
    goodbye,
    password,
    published,
    registry,
)
from tests.harness.postgresql import Postgresql

__all__ = ["broker", "registry"]


def test_who_is_blocked_must_go_and_does_not_come_back(
    broker: Running, registry: SqlRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(broker) as client:
        changed(registry, "d1", blocked=True)
        packet = goodbye(client)
        assert (int(packet.reason_code), packet.reason_str) == (NOT_AUTHORIZED, "it is blocked")
    eventually(lambda: "it is blocked" in caplog.text)
    assert caplog.text.count("it is blocked") == 1, "one event is one line"
    with raw(broker) as client:
        assert connect(client) == 0x86
    changed(registry, "d1", blocked=False)

    def comes_back() -> bool:
        with raw(broker) as again:
            return connect(again) == 0

    eventually(comes_back, seconds=2)


def test_who_is_removed_must_go(broker: Running, registry: SqlRegistry) -> None:
    with connected(broker) as client:
        registry.edit("d1", lambda entry: None)
        assert goodbye(client).reason_str == "it was removed from the registry"


def test_a_credential_that_is_taken_away_ends_its_connection_and_no_other(
    broker: Running, registry: SqlRegistry
) -> None:
    registry.edit("d2", lambda _: Entry(name="d2", credentials=(password("d2/1"),)))
    with connected(broker) as client, connected(broker, name="d2") as other:
        changed(registry, "d1", credentials=(password("d1/2", "new"),))
        packet = goodbye(client)
        assert packet.reason_str == "the credential that it logged in with is not valid any more"
        assert published(other, "devices/d2/state") == 0x10
    with raw(broker) as client:
        assert connect(client) == 0x86
    with raw(broker) as client:
        assert connect(client, text="new") == 0


def test_a_credential_that_is_added_beside_disturbs_nobody(
    broker: Running, registry: SqlRegistry
) -> None:
    with connected(broker) as client:
        entry = registry.entries()["d1"]
        changed(registry, "d1", credentials=(*entry.credentials, password("d1/2", "new")))
        time.sleep(SECOND)
        assert published(client, "devices/d1/state") == 0x10


def test_a_credential_that_now_ends_sooner_closes_the_connection_then(
    broker: Running, registry: SqlRegistry
) -> None:
    with connected(broker) as client:
        entry = registry.entries()["d1"]
        [credential] = entry.credentials
        end = int(time.time()) + 2.0
        changed(
            registry, "d1", credentials=(replace(credential, validity=Validity(not_after=end)),)
        )
        client.socket.settimeout(3)
        packet = client.next()
        assert isinstance(packet, DisconnectPacket)
        assert abs(time.time() - end) < 0.5


def test_a_login_that_began_before_the_change_is_looked_up_again_before_it_is_let_in(
    broker: Running,
    registry: SqlRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    verify = PasswordHash.verifies

    def blocked_meanwhile(self: PasswordHash, given: bytes) -> bool:
        changed(registry, "d1", blocked=True)
        # Until the change was followed.
        time.sleep(1.2)
        return verify(self, given)

    monkeypatch.setattr(PasswordHash, "verifies", blocked_meanwhile)
    with raw(broker) as client:
        assert connect(client) == 0x86
    eventually(lambda: "'d1' changed while it logged in: it is blocked" in caplog.text)
    monkeypatch.undo()
    with raw(broker) as client:
        assert connect(client) == 0x86


def test_a_registry_that_is_away_leaves_everyone_connected(
    broker: Running, registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: SqlRegistry, since: int) -> None:
        raise RegistryError("away")

    with connected(broker) as client:
        with monkeypatch.context() as patched:
            patched.setattr(SqlRegistry, "changes", away)
            changed(registry, "d1", blocked=True)
            time.sleep(1.2)
            assert published(client, "devices/d1/state") == 0x10
        assert goodbye(client).reason_str == "it is blocked"


def test_a_defect_that_would_keep_changes_unseen_ends_the_broker(
    broker: Running, registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(self: SqlRegistry, since: int) -> None:
        raise ZeroDivisionError

    with connected(broker) as client:
        monkeypatch.setattr(SqlRegistry, "changes", defect)
        eventually(broker.server.failed.done)
        with suppress(ConnectionError):
            assert client.next() is None
    with pytest.raises(RegistryError, match="can't be followed: ZeroDivisionError"):
        broker.server.failed.result()


def test_a_registry_file_is_followed_too(start: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    text = f'version: 1\ndevices:\n  d1: {{password_hash: "{CHEAP.hash("right")}"}}\n'
    path.write_text(text)
    with connected(start(registry_file=path)) as client:
        path.write_text(text.replace("d1: {", "d1: {blocked: true, "))
        assert goodbye(client).reason_str == "it is blocked"


def test_a_registry_file_that_stays_wrong_is_told_once_and_hides_no_earlier_change(
    start: Callable[..., Running],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "own.yaml"
    text = f'version: 1\ndevices:\n  d1: {{password_hash: "{CHEAP.hash("right")}"}}\n'
    path.write_text(text)
    broker = start(registry_file=path)
    verify = PasswordHash.verifies

    def wrong_meanwhile(self: PasswordHash, given: bytes) -> bool:
        path.write_text(text.replace("d1: {", "d1: {blocked: true, "))
        time.sleep(1.2)
        path.write_text("version: 1\ndevices: nobody\n")
        time.sleep(1.2)
        return verify(self, given)

    monkeypatch.setattr(PasswordHash, "verifies", wrong_meanwhile)
    with raw(broker) as client:
        assert connect(client) == 0x86
    told = [line for line in caplog.messages if "registry" in line or "own.yaml" in line]
    assert len(told) == 1, told
    assert "changes are not seen until this is mended" in told[0]
    path.write_text(text)
    eventually(lambda: "the registry can be read again" in caplog.messages)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_processes_on_one_database_follow_the_same_changes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = "sqlite:///registry.db"
    if kind == "postgresql":
        server: Postgresql = request.getfixturevalue("postgresql")
        written = server.url(server.new_database())
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
    registry = SqlRegistry(registry_url(written, folder=tmp_path))
    registry.edit("d1", lambda _: Entry(name="d1", credentials=(password("d1/1"),)))
    config = tmp_path / "broker.yaml"
    config.write_text(f'listeners: [{{port: 0}}]\nregistry: {{url: "{written}"}}\n')
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            running = stack.enter_context(process(config))
            assert running.stdout is not None
            port = urlsplit(running.stdout.readline().split()[1]).port
            client = Raw(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            assert connect(client) == 0
            clients.append(client)
        changed(registry, "d1", blocked=True)
        for client in clients:
            assert goodbye(client).reason_str == "it is blocked"
    registry.close()


def test_a_database_that_cut_everyone_off_is_asked_again(
    start: Callable[..., Running], postgresql: Postgresql
) -> None:
    database = postgresql.new_database()
    url = registry_url(postgresql.url(database), environment=postgresql.environment)
    registry = SqlRegistry(url)
    registry.edit("d1", lambda _: Entry(name="d1", credentials=(password("d1/1"),)))
    with connected(start(registry_file=None, registry_url=url)) as client:
        with postgresql.connect("postgres") as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (database,),
            )
        changed(registry, "d1", blocked=True)
        client.socket.settimeout(2)
        packet = client.next()
        assert isinstance(packet, DisconnectPacket)
        assert packet.reason_str == "it is blocked"
    registry.close()
