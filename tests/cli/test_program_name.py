from pathlib import Path

import pytest

from cli.local import program_name


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / ".venv" / "bin" / "mqttbeam"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    return program


def test_it_is_called_as_it_is_reached_from_here(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program_name(str(program)) == ".venv/bin/mqttbeam"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert program_name(str(program)) == str(program)


def test_on_the_path_its_name_is_enough(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name(str(program)) == "mqttbeam"


def test_as_a_module_it_is_called_as_one(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(program.with_name("python")))
    monkeypatch.chdir(program.parent.parent.parent)
    assert program_name("/somewhere/cli/__main__.py") == ".venv/bin/python -m cli"
