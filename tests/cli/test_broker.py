"""`mqttbeam broker`: what its commands say and how they end."""

from __future__ import annotations

import json
from pathlib import Path

from broker.registry import generate
from tests.broker.core.harness import House
from tests.cli.commandline import assert_refused, mqttbeam


def test_check_ends_with_what_it_found(tmp_path: Path) -> None:
    generate(tmp_path / "registry.yaml", devices=["d1"])
    config = tmp_path / "broker.yaml"
    config.write_text(
        "listeners: [{port: 0}]\nregistry: {file: registry.yaml}\nlimits: {connections: 9}"
    )
    done = mqttbeam("broker", "check", "broker.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "4 ok, 1 warning"
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
    assert (done.returncode, done.stdout) == (0, "monday.db: 1 sessions, 0 messages\n")
    refused = mqttbeam("broker", "restore", "broker.db", "monday.db", cwd=tmp_path)
    assert refused.returncode == 1
    assert "with --force it is put aside" in refused.stderr
    done = mqttbeam("broker", "restore", "broker.db", "monday.db", "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the store of before is broker.db.replaced-20" in done.stdout
    done = mqttbeam("broker", "restore", "other.db", "monday.db", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "other.db: 1 sessions, 0 messages\n")
    done = mqttbeam("broker", "upgrade", "broker.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.split(",")[-1]) == (0, " as it should be\n")


def test_a_store_s_command_without_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broker.yaml").write_text("{}")
    done = mqttbeam("broker", "upgrade", "broker.yaml", cwd=tmp_path)
    assert_refused(done, "error: broker.yaml configures no store; give `store: {file: …}`")
    done = mqttbeam("broker", "backup", "none.yaml", "monday.db", cwd=tmp_path)
    assert_refused(done, "error: none.yaml: cannot be read")
