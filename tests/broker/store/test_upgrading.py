"""A store of an earlier version is upgraded by a command, with a copy kept, or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mqtt5 import PublishPacket, QoS

from broker.errors import StoreError
from broker.store import examine, restore, schema, upgrade
from tests.broker.core.harness import House, open_store
from tests.broker.store.test_copying import NOW

NEXT = "CREATE TABLE next_of_all (a); INSERT INTO next_of_all SELECT client_id FROM session;"


def store_of_today(path: Path) -> None:
    house = House(store=path)
    house.resume("c-1").subscribe("a")
    assert house.store is not None
    house.store.close()


def one_version_later(patch: pytest.MonkeyPatch, step: str = NEXT) -> None:
    patch.setattr(schema, "STEPS", (*schema.STEPS, step))
    patch.setattr(schema, "VERSION", len(schema.STEPS))


def test_each_step_is_taken_and_a_copy_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broker.db"
    store_of_today(path)
    before = schema.VERSION
    with monkeypatch.context() as patch:
        one_version_later(patch)
        one_version_later(patch, "INSERT INTO next_of_all VALUES ('c-2');")
        with pytest.raises(StoreError, match=r"is older than \d+; `mqttbeam broker upgrade"):
            open_store(path)
        done = upgrade(path)
        assert (done.before, done.after) == (before, before + 2)
        assert done.kept == tmp_path / f"broker.db.version-{before}"
        assert upgrade(path).kept is None, "nothing is left to do"
        open_store(path).close()
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT a FROM next_of_all ORDER BY 1").fetchall()
    database.close()
    assert rows == [("c-1",), ("c-2",)]

    # The program of before: it refuses, and takes the copy.
    with pytest.raises(StoreError, match="is newer than"):
        open_store(path)
    restore(path, done.kept, force=True, now=NOW)
    assert examine(path).sessions == 1
    open_store(path).close()


def test_a_step_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broker.db"
    store_of_today(path)
    with monkeypatch.context() as patch:
        one_version_later(patch, "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);")
        with pytest.raises(StoreError, match="can't be upgraded: no such table"):
            upgrade(path)
    assert examine(path).version == schema.VERSION
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall() == []
    database.close()
    store = open_store(path)
    assert len(store.load().sessions) == 1
    store.close()


def test_a_new_store_is_of_the_newest_version_by_all_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_version_later(monkeypatch)
    open_store(tmp_path / "broker.db").close()
    assert examine(tmp_path / "broker.db").version == schema.VERSION


def test_a_store_that_a_broker_has_is_not_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "broker.db")
    one_version_later(monkeypatch)
    with pytest.raises(StoreError, match="another broker has it; stop it first"):
        upgrade(tmp_path / "broker.db")
    store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_store_of_each_earlier_version_is_taken_up_with_all_it_holds(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "broker.db"
    packet = PublishPacket("a", b"kept", qos=QoS.AT_LEAST_ONCE, packet_id=1).write()
    with sqlite3.connect(path) as database:
        database.executescript("".join(schema.STEPS[:version]))
        database.execute(f"PRAGMA user_version = {version}")
        # As the first version has them.
        database.execute("INSERT INTO session VALUES ('c-1', 'tester', 0, 4294967295, NULL)")
        database.execute("INSERT INTO subscription VALUES ('c-1', 'a', 1, 0, 0, NULL)")
        database.execute("INSERT INTO message VALUES (1, ?, 'a', 'c-2', NULL)", (packet,))
        database.execute("INSERT INTO delivery VALUES (2, 'c-1', 1, 1, 0, '', NULL, 0)")
        database.execute("INSERT INTO retained VALUES ('a', 1)")
    database.close()
    with pytest.raises(StoreError, match="`mqttbeam broker upgrade"):
        open_store(path)
    assert upgrade(path).before == version

    house = House(store=path)
    house.crash()
    client = house.resume("c-1")
    assert client.payloads() == [b"kept"]
    client.publish("a", b"new", qos=1)
    assert client.payloads() == [b"new"]
    reader = house.connect("c-3")
    reader.subscribe("a")
    assert reader.payloads() == [b"kept"], "it is retained"
    assert house.store is not None
    house.store.close()


def test_a_store_that_is_not_there_is_not_upgraded_nor_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        upgrade(tmp_path / "broker.db")
    assert list(tmp_path.iterdir()) == []
