"""`mqttbeam broker`: what its commands say and how they end."""

from __future__ import annotations

import json
from pathlib import Path

from broker.registry import generate
from tests.cli.commandline import mqttbeam


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
