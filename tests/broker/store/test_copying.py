"""Backup while a broker writes, restore, and what they refuse."""

from __future__ import annotations

import sqlite3
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.errors import StoreError
from broker.store import SqliteStore, backup, copying, examine, restore
from tests.broker.core.harness import House

NOW = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)


def filled(path: Path, payloads: list[bytes]) -> House:
    """A running broker in whose store a session waits for these messages."""
    house = House(store=path)
    house.crash()
    if house.core.sessions.get("c-1") is None:
        client = house.resume("c-1")
        client.subscribe("a")
        client.drop()
    writer = house.connect("cw")
    for payload in payloads:
        writer.publish("a", payload, qos=1)
    return house


def stopped(house: House) -> None:
    assert house.store is not None
    house.store.close()


def waiting(path: Path) -> list[bytes]:
    """What a broker on this file delivers to the session."""
    house = House(store=path)
    house.crash()
    payloads = house.resume("c-1").payloads()
    stopped(house)
    return payloads


def test_a_backup_of_a_running_broker_s_store_is_what_was_committed(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    house = filled(path, [b"1", b"2"])
    assert house.store is not None
    house.store.backup(target)
    house.connect("cx").publish("a", b"3", qos=1)
    stopped(house)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {item.name for item in tmp_path.iterdir()} == {"broker.db", "backup.db"}
    assert waiting(target) == [b"1", b"2"]
    assert waiting(path) == [b"1", b"2", b"3"]


def test_a_backup_is_sound_though_it_is_written_to_all_the_while(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    house = filled(path, [b"x" * 4_000] * 500)
    store = house.store
    assert store is not None
    made = threading.Thread(target=store.backup, args=(target,))
    made.start()
    writer = house.connect("cy")
    written = 500
    while made.is_alive():
        writer.publish("a", b"y" * 4_000, qos=1)
        written += 1
    made.join()
    stopped(house)
    assert examine(path).messages == written > 510, "it was written meanwhile"
    assert 500 <= examine(target).messages <= written


def test_one_backup_at_a_time_and_none_when_the_broker_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGES_AT_ONCE", 1)
    monkeypatch.setattr(copying, "PAUSE_SECONDS", 0.05)
    house = filled(tmp_path / "broker.db", [b"x" * 4_000] * 50)
    store = house.store
    assert store is not None
    problems: list[str] = []

    def make(name: str) -> None:
        try:
            store.backup(tmp_path / name)
        except StoreError as error:
            problems.append(str(error))

    first = threading.Thread(target=make, args=("one.db",))
    first.start()
    while not list(tmp_path.glob(".one.db.*")):
        assert first.is_alive()
    make("two.db")
    assert "another is being made" in problems[0]
    store.close()
    first.join(10)
    assert "the broker stops" in problems[1]
    assert [item.name for item in tmp_path.iterdir()] == ["broker.db"]


def test_a_backup_replaces_nothing(tmp_path: Path) -> None:
    stopped(filled(tmp_path / "broker.db", [b"1"]))
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(StoreError, match="a backup replaces nothing"):
        backup(tmp_path / "broker.db", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_store_that_a_broker_has_is_not_read_behind_its_back(tmp_path: Path) -> None:
    house = filled(tmp_path / "broker.db", [b"1"])
    with pytest.raises(StoreError, match="another broker has it"):
        backup(tmp_path / "broker.db", tmp_path / "backup.db")
    stopped(house)
    backup(tmp_path / "broker.db", tmp_path / "backup.db")
    with sqlite3.connect(tmp_path / "backup.db") as copied:
        assert copied.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copied.close()
    assert waiting(tmp_path / "backup.db") == [b"1"]


def test_a_restore_puts_what_was_there_aside(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    stopped(filled(path, [b"1"]))
    backup(path, target)
    stopped(filled(path, [b"2"]))
    with pytest.raises(StoreError, match=r"exists and is newer than the backup; with --force"):
        restore(path, target, force=False, now=NOW)
    aside = restore(path, target, force=True, now=NOW)
    assert aside == tmp_path / "broker.db.replaced-20261129T083000Z"
    assert waiting(path) == [b"1"]
    assert waiting(aside) == [b"1", b"2"]


def test_a_restore_to_an_empty_place_needs_no_force(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    log = tmp_path / "broker.db-wal"
    house = filled(path, [b"1"])
    assert house.store is not None
    house.store.backup(target)
    house.connect("cx").publish("a", b"2", qos=1)
    left = log.read_bytes()
    stopped(house)
    path.unlink()
    # Left over from a store that is gone: it must not be read into the new one.
    log.write_bytes(left)
    assert restore(path, target, force=False, now=NOW) is None
    assert waiting(path) == [b"1"]


def test_a_running_broker_s_store_is_never_replaced(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    house = filled(path, [b"1"])
    assert house.store is not None
    house.store.backup(target)
    with pytest.raises(StoreError, match="another broker has it; stop it first"):
        restore(path, target, force=True, now=NOW)
    stopped(house)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backup.db", "broker.db"]


def test_a_damaged_backup_is_not_restored_and_a_damaged_store_is_put_aside(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    stopped(filled(path, [b"%d" % number * 100 for number in range(200)]))
    backup(path, target)
    whole = target.read_bytes()
    target.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"store \S+/backup\.db: it is damaged"):
        restore(path, target, force=True, now=NOW)
    assert path.read_bytes() == before
    target.write_bytes(whole)
    path.write_bytes(b"\xa5" * len(before))
    aside = restore(path, target, force=True, now=NOW)
    assert aside is not None
    assert aside.read_bytes() == b"\xa5" * len(before)
    assert len(waiting(path)) == 200


def test_a_store_can_be_opened_after_a_backup_was_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    house = filled(path, [])
    assert isinstance(house.store, SqliteStore)
    with pytest.raises(StoreError, match=r"nowhere/b\.db can't be written"):
        house.store.backup(tmp_path / "nowhere" / "b.db")
    house.store.backup(tmp_path / "b.db")
    stopped(house)


def test_a_backup_that_is_not_there_is_not_restored_and_nothing_is_made(tmp_path: Path) -> None:
    path, missing = tmp_path / "broker.db", tmp_path / "mistyped.db"
    stopped(filled(path, [b"1"]))
    for force in (False, True):
        with pytest.raises(StoreError, match=r"mistyped\.db does not exist"):
            restore(path, missing, force=force, now=NOW)
    assert [file.name for file in tmp_path.iterdir() if "mistyped" in file.name] == []
    assert waiting(path) == [b"1"]


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    path, target = tmp_path / "broker.db", tmp_path / "backup.db"
    with pytest.raises(StoreError, match="does not exist"):
        backup(path, target)
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreError, match="is empty"):
        backup(path, target)
    with pytest.raises(StoreError, match="is empty"):
        restore(tmp_path / "other.db", path, force=True, now=NOW)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broker.db"]
