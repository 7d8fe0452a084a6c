"""What a broker's start takes in: a database's library only where there is a database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from broker.registry.opening import count_registered, open_registry, upgrade_registry
from broker.registry.registry_url import registry_url
from tests.broker.registry.contents import HASH


def test_without_a_database_its_library_is_not_loaded() -> None:
    code = "import sys, broker.server.serve; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_counted_is_not_made(tmp_path: Path) -> None:
    url = registry_url("sqlite:///registry.db", folder=tmp_path)
    assert count_registered(url=url) is None
    assert list(tmp_path.iterdir()) == []
    assert upgrade_registry(url)[0] is None
    assert count_registered(url=url) == 0


def test_a_file_a_database_or_nobody(tmp_path: Path) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(f'version: 1\ndevices: {{d1: {{password_hash: "{HASH}"}}}}\n')
    url = registry_url("sqlite:///registry.db", folder=tmp_path)
    for opened, known in (
        (open_registry(file=file), True),
        (open_registry(url=url), False),
        (open_registry(), False),
    ):
        assert (opened.find("d1") is not None) is known
        opened.close()
    assert count_registered(file=file) == 1
