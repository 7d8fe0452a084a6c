"""Files that the broker's user may not write: check and start say the same, and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from broker.file_rights import obstacle
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.core.harness import House

CONFIG = """\
listeners: [{port: 0}]
registry: {url: "sqlite:///registry.db"}
store: {file: stored/broker.db}
"""


def as_a_user(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``mqttbeam`` as one whom rights of files hold for: root's two exceptions are dropped."""
    user: Sequence[str] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everything, and setpriv is not here to drop that")
        user = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    return subprocess.run(
        [*user, sys.executable, "-m", "cli", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "broker.yaml").write_text(CONFIG)
    (tmp_path / "stored").mkdir()
    SqlRegistry(registry_url(f"sqlite:///{tmp_path / 'registry.db'}")).close()
    house = House(store=tmp_path / "stored" / "broker.db")
    assert house.store is not None
    house.resume("c1").subscribe("t")
    house.store.close()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "mode", "words"),
    [
        ("stored", 0o500, "folder {path} may not be written by this user (uid 0)"),
        ("stored/broker.db", 0o400, "broker.db may not be read and written by this user (uid 0)"),
        ("registry.db", 0o000, "registry.db may not be read and written by this user (uid 0)"),
    ],
)
def test_who_may_not_write_is_told_what_and_by_whom(
    site: Path, path: str, mode: int, words: str
) -> None:
    (site / path).chmod(mode)
    expected = words.format(path="stored").replace("uid 0", f"uid {os.getuid()}")
    try:
        checked = as_a_user("broker", "check", "broker.yaml", folder=site)
        started = as_a_user("broker", "serve", "--config", "broker.yaml", folder=site)
    finally:
        (site / path).chmod(0o700)
    assert (checked.returncode, started.returncode != 0) == (1, True)
    for told in (checked.stdout, started.stderr):
        assert expected in " ".join(told.split())
        assert f"{path} to the broker's user (chown)" in " ".join(told.split())


def test_a_registry_that_can_only_be_read_is_warned_of(site: Path) -> None:
    (site / "registry.db").chmod(0o400)
    checked = as_a_user("broker", "check", "broker.yaml", folder=site)
    assert checked.returncode == 0
    assert "last-seen times can't be recorded" in " ".join(checked.stdout.split())
    assert "nobody is in it: nobody can connect" in " ".join(checked.stdout.split())


def test_a_folder_that_is_not_there_and_one_in_a_file_s_place_are_told(tmp_path: Path) -> None:
    assert "no folder" in str(obstacle(tmp_path / "missing" / "broker.db"))
    assert "it is a folder" in str(obstacle(tmp_path))
    assert obstacle(tmp_path / "broker.db") is None
