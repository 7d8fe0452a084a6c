"""`mqttbeam broker`: what its commands say and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.registry import Service, generate
from tests.broker.core.harness import House
from tests.cli.commandline import assert_refused, mqttbeam
from tests.harness.processes import Processes
from tests.harness.waiting import wait_until


def test_check_ends_with_what_it_found(tmp_path: Path) -> None:
    generate(tmp_path / "registry.yaml", devices=["d1"])
    config = tmp_path / "broker.yaml"
    config.write_text(
        "listeners: [{port: 0}]\nregistry: {file: registry.yaml}\nlimits: {connections: 9}"
    )
    done = mqttbeam("broker", "check", "broker.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "5 ok, 1 warning"
    assert mqttbeam("broker", "check", "broker.yaml", "--strict", cwd=tmp_path).returncode == 1

    config.write_text("listeners: [{port: -1}]\nlimit: {}")
    done = mqttbeam("broker", "check", "broker.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["outcome"] == "failed"
    keys = [each["words"].split(":")[0] for each in told["findings"]]
    assert keys == ["listeners[0].port", "limit"]


def test_a_store_is_backed_up_and_restored_by_its_file_or_its_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "broker.yaml").write_text("store: {file: broker.db}")
    house = House(store=tmp_path / "broker.db")
    house.resume("c-1").subscribe("a")
    held = mqttbeam("broker", "backup", "broker.yaml", "monday.db", cwd=tmp_path)
    assert held.returncode == 1
    assert "another broker has it" in held.stderr
    assert house.store is not None
    house.store.close()

    done = mqttbeam("broker", "backup", "broker.yaml", "monday.db", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "monday.db: 1 session, 0 messages\n")
    refused = mqttbeam("broker", "restore", "broker.db", "monday.db", cwd=tmp_path)
    assert refused.returncode == 1
    assert "with --force it is put aside" in refused.stderr
    done = mqttbeam("broker", "restore", "broker.db", "monday.db", "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the store of before is broker.db.replaced-20" in done.stdout
    done = mqttbeam("broker", "restore", "other.db", "monday.db", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "other.db: 1 session, 0 messages\n")
    done = mqttbeam("broker", "upgrade", "broker.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.split(",")[-1]) == (0, " as it should be\n")


def test_a_store_s_command_without_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_text("{}")
    done = mqttbeam("broker", "upgrade", "broker.yaml", cwd=tmp_path)
    assert_refused(done, "error: broker.yaml configures no store; give `store: {file: …}`")
    done = mqttbeam("broker", "backup", "none.yaml", "monday.db", cwd=tmp_path)
    assert_refused(done, "error: none.yaml: cannot be read")
    (tmp_path / "empty.db").touch()
    done = mqttbeam("broker", "backup", "empty.db", "monday.db", cwd=tmp_path)
    assert done.returncode != 0
    assert "empty.db" in done.stderr
    assert "configures no store" not in done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Processes]:
    """A broker process with a store and an administration socket."""
    watcher = Service(name="w", role="observer", client_id_prefix="w-")
    passwords = generate(tmp_path / "registry.yaml", devices=["d1"], services=[watcher])
    (tmp_path / "broker.yaml").write_text(
        "listeners: [{port: 0}]\nregistry: {file: registry.yaml}\nstore: {file: broker.db}\n"
        "administration: {socket: broker.sock}\n"
    )
    with Processes(tmp_path) as processes:
        command = [sys.executable, "-m", "broker.server", "--config", str(tmp_path / "broker.yaml")]
        broker = processes.start("broker", command)
        port = int(broker.wait_for(r"ready mqtt://127\.0\.0\.1:(\d+)")[1])
        device = paho.Client(CallbackAPIVersion.VERSION2, client_id="d1", clean_session=False)
        device.username_pw_set("d1", passwords["d1"])
        device.connect("127.0.0.1", port)
        device.loop_start()
        device.publish("devices/d1/state", b"on\x1b", qos=1, retain=True).wait_for_publish(10)
        slow = paho.Client(CallbackAPIVersion.VERSION2, client_id="w-1", manual_ack=True)
        slow.username_pw_set("w", passwords["w"])
        got: list[bytes] = []
        slow.on_message = lambda _client, _data, message: got.append(bytes(message.payload))
        slow.connect("127.0.0.1", port)
        slow.loop_start()
        slow.subscribe("devices/#", qos=1)
        wait_until(lambda: got, seconds=10, what="the retained message")
        yield processes
        for client in (device, slow):
            # The broker gives who doesn't close five seconds.
            client.disconnect()
            client.loop_stop()


def test_a_running_broker_is_asked_by_commands(served: Processes, tmp_path: Path) -> None:
    def told(*words: str) -> str:
        done = mqttbeam("broker", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "\nconnected: 2\n" in told("status", "broker.yaml")
    assert json.loads(told("status", "broker.sock", "--json"))["sessions"] == 2
    row = told("clients", "broker.yaml").splitlines()[2].split()
    assert row[:2] == ["d1", "d1"]
    assert row[2].startswith("127.0.0.1:")
    one = json.loads(told("clients", "broker.yaml", "d1", "--json"))
    assert (one["client_id"], one["subscriptions"]) == ("d1", [])
    assert told("clients", "broker.yaml", "--match", "x*", "--json") == ""
    first = json.loads(
        told("clients", "broker.yaml", "--sort", "unacked", "--limit", "1", "--json")
    )
    assert (first["client_id"], first["unacknowledged"]) == ("w-1", 1)
    row = told("retained", "list", "broker.yaml").splitlines()[2].split()
    assert row == ["devices/d1/state", "1", "3", "d1"]
    assert told("retained", "show", "broker.yaml", "devices/d1/state") == "on\\x1b\n"
    assert told("retained", "delete", "broker.yaml", "devices/d1/state") == ""
    missing = mqttbeam(
        "broker", "retained", "show", "broker.yaml", "devices/d1/state", cwd=tmp_path
    )
    assert missing.returncode == 1
    assert missing.stderr == "error: no message is retained for 'devices/d1/state'\n"
    assert told("backup", "broker.yaml", "monday.db") == "monday.db: 1 session, 0 messages\n"
    assert (
        told("kick", "broker.yaml", "d1", "--forget") == "d1: disconnected, its session is gone\n"
    )


def test_without_an_administration_socket_the_way_to_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_text("{}")
    done = mqttbeam("broker", "status", "broker.yaml", cwd=tmp_path)
    assert_refused(done, "error: broker.yaml configures no administration; give `administration:")
    (tmp_path / "broker.yaml").write_text("administration: {socket: broker.sock}")
    done = mqttbeam("broker", "clients", "broker.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no broker answers at broker.sock")
