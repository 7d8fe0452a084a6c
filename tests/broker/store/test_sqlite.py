from __future__ import annotations

import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from mqtt5 import DisconnectPacket, PubAckPacket, PublishPacket, QoS, Will

from broker.core.facts import Changes, SessionEnded
from broker.errors import StoreError
from broker.store import examine
from tests.broker.core.harness import CORE_TO_WALL, House, open_store


def test_a_second_broker_on_one_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    held = open_store(path)
    with pytest.raises(StoreError, match=r"store\.db can't be opened: another broker has it"):
        open_store(path)
    held.close()
    open_store(path).close()


def test_what_is_no_store_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database at all, " * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="it is no SQLite file"):
        open_store(path)
    assert path.read_bytes() == before


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(StoreError, match="tables are another program's"):
        open_store(path)


def test_a_folder_in_place_of_the_file_is_called_one(tmp_path: Path) -> None:
    for meet in (open_store, examine):
        with pytest.raises(StoreError, match="it is a folder; name a file in it"):
            meet(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/store\.db can't be opened"):
        open_store(tmp_path / "nowhere" / "store.db")


def test_a_damaged_store_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    house = House(store=path)
    client = house.resume()
    client.subscribe("a")
    client.drop()
    for number in range(200):
        house.connect("cx").publish("a", b"%d" % number * 100, qos=1)
    assert house.store is not None
    house.store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="it is damaged; move it away"):
        open_store(path).load()


def test_only_its_owner_reads_what_devices_say(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(path)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    store.close()


def test_times_go_on_while_the_broker_is_away(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    house = House(store=path)
    for name, expiry in (("c-short", 100), ("c-long", 1_000)):
        client = house.resume(name, session_expiry_interval=expiry)
        client.subscribe("a")
        client.drop()
    house.connect("cx").publish("a", b"brief", qos=1, message_expiry_interval=150)
    house.connect("cx").publish("a", b"lasting", qos=1)
    assert house.store is not None
    house.store.close()

    # Another process, whose clock began anew, 200 s later.
    later = House()
    later.now = 5.0
    later.store = open_store(path, core_to_wall=CORE_TO_WALL + house.now + 200 - later.now)
    later.crash()
    later.wait(0)
    assert [session.client_id for session in later.core.sessions] == ["c-long"]
    assert later.resume("c-long").payloads() == [b"lasting"]
    later.store.close()


def test_a_will_is_published_though_the_broker_was_killed(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store.db")
    watcher = house.resume("c-watcher")
    watcher.subscribe("wills")
    will = Will(topic="wills", payload=b"gone", qos=QoS.AT_LEAST_ONCE)
    house.connect("c-1", will=will)
    house.resume(
        "c-2", will=Will(topic="wills", payload=b"later", qos=QoS(1), will_delay_interval=60)
    )
    house.connect("c-3", will=will).send(DisconnectPacket())
    house.crash()
    watcher = house.resume("c-watcher")
    assert watcher.payloads() == [b"gone"]
    house.crash()
    house.wait(61)
    assert house.resume("c-watcher").payloads() == [b"gone", b"later"]
    house.crash()
    house.wait(100)
    assert house.resume("c-watcher").payloads() == [b"gone", b"later"], "each once"


def test_qos_2_arrives_once_though_the_broker_was_killed_between_its_steps(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store.db")
    house.resume("c-reader").subscribe("a", qos=2)
    writer = house.resume("c-writer")
    writer.publish("a", b"once", qos=2, packet_id=9)
    house.crash()
    writer = house.resume("c-writer")
    writer.publish("a", b"once", qos=2, packet_id=9, duplicate=True)
    (arrived,) = house.resume("c-reader").take(PublishPacket)
    assert (arrived.payload, int(arrived.qos), arrived.duplicate) == (b"once", 2, True)


def test_a_row_s_number_is_never_given_again_while_the_log_has_it(tmp_path: Path) -> None:
    house = House(store=tmp_path / "store.db")
    reader = house.resume("c-1")
    reader.subscribe("a")
    house.connect("cx").publish("a", b"first" * 100, qos=1)
    (packet,) = reader.take(PublishPacket)
    assert packet.packet_id is not None
    reader.send(PubAckPacket(packet.packet_id))
    reader.drop()
    # Nothing is left of the first but its turn of the log.
    house.crash()
    writer = house.connect("cx")
    # The first leaves the log, and they do not.
    payloads = [b"%d" % number * 60 for number in range(5)]
    for payload in payloads:
        writer.publish("a", payload, qos=1)
        house.settle()
    for _ in range(2):
        house.crash()
    assert house.resume("c-1").payloads() == payloads


@pytest.mark.parametrize("name", ["broker.db", "broker.db-wal"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_commit_into_a_file_that_nobody_finds_is_none(
    tmp_path: Path, name: str, replaced: bool
) -> None:
    store = open_store(tmp_path / "broker.db")
    changes = Changes(facts=[SessionEnded("c1")])
    store.commit(changes)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    if replaced:
        shutil.copy(tmp_path / "elsewhere", tmp_path / name)
    with pytest.raises(StoreError, match=f"{name} was deleted, moved away or replaced"):
        store.commit(changes)
    store.close()
