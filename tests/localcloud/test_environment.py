import platform
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from localcloud import environment


def test_pinned_packages_are_counted_without_their_hashes_and_origins() -> None:
    lock = "# made by\na==1 \\\n    --hash=sha256:00\n    # via b==2\nb==2 ; python_version>'3'\n"
    assert environment.locked_packages(lock) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Collecting numpy==2.1 (from -r requirements.lock (line 7))\n", (True, "numpy==2.1")),
        ("Requirement already satisfied: idna==3 in ./x\n", (True, "idna==3")),
        ("Installing collected packages: a, b\n", (False, "unpacking them all (the longest step)")),
        ("  Downloading numpy-2.1.whl (16 MB)\n", None),
    ],
)
def test_pip_s_output_is_told_in_short(line: str, expected: tuple[bool, str] | None) -> None:
    assert environment.describe(line) == expected


def test_an_environment_of_this_very_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / environment.STAMP).write_text(environment.fingerprint())
    environment.make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [environment.STAMP]


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that seems to work, of this Python, beside a lock that can't be installed."""
    lock = tmp_path / "requirements.lock"
    lock.write_text("no-such-package==1 --hash=sha256:" + "0" * 64)
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    _program(venv / "bin" / "python", f"echo {platform.python_version()}")
    (venv / "installed").touch()
    return venv


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_an_environment_that_works_is_kept_and_brought_up_to_the_lock(venv: Path) -> None:
    environment.make(venv)
    assert (venv / "installed").exists()
    assert (venv / environment.STAMP).read_text() == environment.fingerprint()


def test_nothing_beside_the_lock_is_looked_up_and_the_whole_is_checked(
    venv: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    python = venv / "bin" / "python"
    _program(python, f'echo "$*" >>{shlex.quote(str(calls))}; echo {platform.python_version()}')
    environment.make(venv)
    _, locked, project, check = calls.read_text().splitlines()
    assert "--require-hashes --no-deps -r" in locked
    assert project.endswith(f"-e {environment.PROJECT}")
    assert check.startswith("-m pip check")


def test_a_lock_that_contradicts_itself_ends_the_set_up(venv: Path) -> None:
    contradiction = 'case "$*" in *check*) echo "a 1 needs b, which is missing"; exit 1;; esac'
    _program(venv / "bin" / "python", f"{contradiction}; echo {platform.python_version()}")
    with pytest.raises(environment.EnvironmentFailed, match="a 1 needs b"):
        environment.make(venv)
    assert not (venv / environment.STAMP).exists()


def test_a_set_up_that_was_cut_off_starts_from_an_empty_folder_and_a_failed_one_says_why(
    venv: Path,
) -> None:
    (venv / environment.MARK).touch()
    with pytest.raises(environment.EnvironmentFailed, match="no-such-package"):
        environment.make(venv)
    assert not (venv / "installed").exists()
    assert (venv / environment.MARK).exists()
    assert not (venv / environment.STAMP).exists()


def test_another_python_than_before_starts_from_an_empty_folder(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (venv / environment.STAMP).write_text(environment.fingerprint())
    _program(venv / "bin" / "python", "echo 3.99.0")
    monkeypatch.setattr(platform, "python_version", lambda: "3.98.0")
    with pytest.raises(environment.EnvironmentFailed, match="no-such-package"):
        environment.make(venv)
    assert not (venv / "installed").exists()


@pytest.mark.parametrize("version", [(3, 10), (3, 15)])
def test_a_python_that_is_not_served_is_refused_before_anything_is_done(
    version: tuple[int, int], tmp_path: Path
) -> None:
    pretend = f"import sys; sys.version_info = {(*version, 0)}; exec(sys.argv[1])"
    python = tmp_path / "python"
    _program(python, f'exec {shlex.quote(sys.executable)} -c {shlex.quote(pretend)} "$2"')
    done = subprocess.run(
        ["make", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", "check"],
        cwd=environment.PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "needs CPython 3.11, 3.12, 3.13 or 3.14" in done.stderr
    assert str(python) in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_makefile_looks_for_the_versions_that_the_metadata_promises() -> None:
    metadata = tomllib.loads(environment.METADATA.read_text())
    promised = re.findall(r"(>=|<)3\.(\d+)", metadata["project"]["requires-python"])
    makefile = (environment.PROJECT / "Makefile").read_text()
    looked_for = re.search(r"\(3, (\d+)\) <= sys.version_info < \(3, (\d+)\)", makefile)
    assert looked_for is not None
    assert promised == [(">=", looked_for[1]), ("<", looked_for[2])]
