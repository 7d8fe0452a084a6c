"""Every input of the corpus, and a few seconds of looking for more where Atheris is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS

INPUTS = sorted(path for target in TARGETS for path in (CORPUS / target).iterdir())


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_that_was_found_once_crashes_nothing(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_the_fuzzer_runs_and_finds_nothing_in_three_seconds(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("Atheris has no wheel for this Python or this machine")
    from tests.fuzz import __main__ as fuzz

    monkeypatch.setattr(fuzz, "WORK", tmp_path)
    assert fuzz.main(target, 3) == 0
    assert list(tmp_path.glob(f"{target}-*")) == []
