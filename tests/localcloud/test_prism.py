import threading
import time
from pathlib import Path

import pytest

from localcloud import prism
from pipelines.prism import cached_path

PRISM = "#!/bin/sh\necho '  -job_port int'\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _gives(text: str) -> prism.Way:
    def way(beam: str, folder: Path, say: prism.Say) -> Path:
        made = folder / "made"
        made.write_text(text)
        return made

    return way


def _closed(beam: str, folder: Path, say: prism.Say) -> Path:
    raise prism.WayFailed("closed on Sundays")


def _quiet(line: str) -> None:
    pass


def test_the_first_way_that_gives_a_prism_is_taken() -> None:
    said: list[str] = []
    made = prism.ensure(ways=(_closed, _gives(PRISM)), say=said.append)
    assert made == cached_path()
    assert made.stat().st_mode & 0o111
    assert "  closed on Sundays" in said


def test_what_is_cached_is_not_made_again() -> None:
    prism.ensure(ways=(_gives(PRISM),), say=_quiet)
    assert prism.ensure(ways=(), say=_quiet) == cached_path()


@pytest.mark.parametrize("text", ["", "no program", "#!/bin/sh\necho something else\n"])
def test_what_does_not_run_as_prism_is_not_kept(text: str) -> None:
    with pytest.raises(prism.PrismUnavailable):
        prism.ensure(ways=(_gives(text),), say=_quiet)
    assert not cached_path().exists()


def test_without_any_way_the_reasons_and_the_remedy_are_told() -> None:
    with pytest.raises(prism.PrismUnavailable) as told:
        prism.ensure(ways=(_closed, _gives("")), say=_quiet)
    assert "- closed on Sundays" in str(told.value)
    assert f"at {cached_path()}, or install Go 1.26" in str(told.value)


def test_of_two_callers_at_once_one_makes_it_and_both_have_it() -> None:
    made = []

    def slow(beam: str, folder: Path, say: prism.Say) -> Path:
        made.append(folder)
        deadline = time.monotonic() + 5
        while len(started) < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        return _gives(PRISM)(beam, folder, say)

    started: list[None] = []
    paths: list[Path] = []

    def call() -> None:
        started.append(None)
        paths.append(prism.ensure(ways=(slow,), say=_quiet))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=20)
    assert paths == [cached_path()] * 2
    assert len(made) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("go version go1.26.8 linux/amd64\n", (1, 26)),
        ("go version go1.19 darwin/arm64", (1, 19)),
        ("go: cannot find GOROOT", None),
        ("", None),
    ],
)
def test_go_tells_its_version(answer: str, expected: tuple[int, int] | None) -> None:
    assert prism.go_version(answer) == expected
