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


def test_a_set_up_that_was_cut_off_starts_from_an_empty_folder_and_a_failed_one_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("no-such-package==1 --hash=sha256:" + "0" * 64)
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / environment.MARK).touch()
    # One that seems to work: only the mark tells.
    (venv / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    (venv / "bin" / "python").chmod(0o755)
    (venv / "half-copied").touch()
    with pytest.raises(environment.EnvironmentFailed, match="no-such-package"):
        environment.make(venv)
    assert not (venv / "half-copied").exists()
    assert (venv / environment.MARK).exists()
    assert not (venv / environment.STAMP).exists()
