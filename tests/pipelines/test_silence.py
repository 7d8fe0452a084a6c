from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.prism import Prism
from pipelines.silence import error_of_ours, silence

OURS = (
    "Traceback (most recent call last):\n"
    '  File "x.py", line 1, in flush\n'
    "transforms.pubsubio.errors.PubSubNotFound: projects/p/topics/t does not exist\n"
)
UNFORESEEN = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 1\n'


@pytest.fixture
def prism(tmp_path: Path) -> Iterator[Prism]:
    path = tmp_path / "prism"
    path.write_text(
        f"#!{sys.executable}\nimport time\nprint('endpoint=localhost:1', flush=True)\n"
        "time.sleep(60)\n"
    )
    path.chmod(0o700)
    running = Prism(path)
    yield running
    running.stop()


def test_the_last_error_of_ours_is_found_in_a_traceback() -> None:
    assert error_of_ours(OURS) == "projects/p/topics/t does not exist"
    assert error_of_ours(UNFORESEEN) is None


def test_a_printed_traceback_of_ours_is_kept_back(
    prism: Prism, capsys: pytest.CaptureFixture[str]
) -> None:
    with silence(prism):
        print(OURS, file=sys.stderr)
        print("said meanwhile", file=sys.stderr)
        print(UNFORESEEN, file=sys.stderr)
    print("said later", file=sys.stderr)
    assert capsys.readouterr().err == f"said meanwhile\n{UNFORESEEN}\nsaid later\n"


def test_a_logged_error_of_ours_is_kept_back(
    prism: Prism, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    root.addHandler(handler)
    beam = logging.getLogger("apache_beam.runners.worker.sdk_worker")
    try:
        with silence(prism):
            beam.error("Error processing instruction 1. Original traceback is\n%s", OURS)
            beam.error("something else")
            beam.warning("a warning of\n%s", OURS)
        beam.error("later: %s", OURS)
    finally:
        root.removeHandler(handler)
    said = capsys.readouterr().err
    assert "Error processing" not in said
    assert "something else" in said
    assert "a warning of" in said
    assert "later" in said


def test_what_threads_raise_once_prism_is_dead_is_kept_back(
    prism: Prism, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = threading.excepthook
    try:
        with silence(prism):
            prism.stop()
            error = RuntimeError("a stream broke")
            threading.excepthook(threading.ExceptHookArgs((type(error), error, None, None)))
    finally:
        threading.excepthook = hook
    assert "a stream broke" not in capsys.readouterr().err
