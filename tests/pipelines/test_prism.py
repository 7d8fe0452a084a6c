from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines.errors import RunnerDied, RunnerMissing
from pipelines.prism import Prism, cached_path


def program(tmp_path: Path, text: str) -> Path:
    """A program in Prism's place."""
    path = tmp_path / "prism"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o700)
    return path


def test_a_missing_binary_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(RunnerMissing, match=r"python -m localcloud\.prism.*--prism_location"):
        Prism(tmp_path / "prism")


def test_the_endpoint_is_read_from_what_it_says(tmp_path: Path) -> None:
    path = program(
        tmp_path,
        "import time\nprint('INFO serving endpoint=localhost:8073', flush=True)\ntime.sleep(60)\n",
    )
    prism = Prism(path)
    try:
        assert prism.endpoint == "localhost:8073"
        assert prism.running
    finally:
        prism.stop()
    assert not prism.running


def test_one_that_does_not_come_up_is_told_with_its_last_words(tmp_path: Path) -> None:
    path = program(tmp_path, "raise SystemExit('no port is free')")
    with pytest.raises(RunnerDied, match=r"status 1; it last said: no port is free"):
        Prism(path)


def test_its_last_words_are_those_at_the_end_of_a_long_log(tmp_path: Path) -> None:
    path = program(
        tmp_path,
        "print('endpoint=localhost:1', flush=True)\n"
        "import time\n"
        "time.sleep(0.2)\n"
        "print('chatter\\n' * 50_000, flush=True)\n"
        "raise SystemExit('the last word')",
    )
    prism = Prism(path)
    try:
        assert prism.wait_for_death(10)
        assert prism.death().endswith("the last word")
    finally:
        prism.stop()


def test_the_cache_is_of_the_installed_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(cached_path()).startswith("/cache/mqttbeam/prism-2.")
