"""The command line as a person meets it: a real process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commandline import PROJECT, assert_refused, mqttbeam


@pytest.mark.parametrize(
    "command",
    [
        ["send", "climate-0001", "report", "{}"],
        ["query", "SELECT 1"],
        ["tail", "telemetry"],
    ],
)
def test_without_a_running_cloud_the_way_to_one_is_told(command: list[str], tmp_path: Path) -> None:
    done = mqttbeam(*command, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("error: no local cloud runs in")
    assert "make run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "--devices", "-1"], "error: DEVICES (--devices) is -1: expected a whole number"),
        (["run", "--devices", "1.5"], "error: DEVICES (--devices) is '1.5': expected a whole"),
        (["run", "--rate", "abc"], "error: RATE (--rate) is 'abc': expected messages a second"),
        (["run", "--duration", "abc"], "error: DURATION (--duration) is 'abc': expected seconds"),
        (["run", "--rate", "-1"], "error: RATE (--rate) is -1: expected messages a second"),
        (["run", "--duration", "0"], "error: DURATION (--duration) is 0: expected seconds"),
        (
            ["run", "--input", "none.csv"],
            "error: INPUT (--input) is none.csv: there is no such file",
        ),
        (["send", "d", "n", "{x"], "error: '{x' is no JSON"),
        (["send", "d", "n", "NaN"], "error: 'NaN' is no JSON: JSON has no NaN"),
        (["send", "d", "n", '{"x": -Infinity}'], "error: '{\"x\": -Infinity}' is no JSON"),
        (["send", "d", "n", ""], "error: '' is no JSON"),
        (["send", "d", "", "{}"], "error: the command's name is empty"),
        (["send", "d", "n", "--timeout", "0"], "error: --timeout 0: expected seconds"),
        (["send", "d", "n", "--expires-in", "0"], "error: expires in 0: expected seconds"),
        (["send", "d", "n", "--expires-in", "-1"], "error: expires in -1: expected seconds"),
        (["send", "d", "n", "--expires-in", "1e300"], "error: expires in 1e+300 seconds"),
        (["broker", "serve", "--config", "none.yaml"], "error: "),
        (["broker", "serve"], "error: missing option '--config'; see `"),
        (["--nope"], "error: no such option: --nope; see `"),
        (["nope"], "error: no such command 'nope'; see `"),
        (["quer"], "error: no such command 'quer'; did you mean 'query'?"),
        (["templates", "nope"], "error: no such command 'nope'; see `"),
        (["plan", "9"], "error: missing option '--devices'; see `"),
        (["plan", "--devices"], "error: option '--devices' requires an argument"),
        (
            ["run", "--seed", "x"],
            "error: invalid value for '--seed': expected a valid integer, got",
        ),
        (
            ["tail"],
            "error: missing argument 'topic'; choose from: telemetry, commands, dead-letters",
        ),
        (["tail", "x"], "error: invalid value for 'topic': 'x' is not one of 'telemetry',"),
        (
            ["tail", "telemetry", "--count", "0"],
            "error: invalid value for '--count': expected a number greater than or equal to 1, got "
            "'0'; see `",
        ),
        (
            ["send", "d", "n", "--timeout", "abc"],
            "error: invalid value for '--timeout': expected a valid number, got 'abc'; see `",
        ),
    ],
)
def test_what_can_t_be_is_one_line_and_exit_status_2(
    command: list[str], message: str, tmp_path: Path
) -> None:
    done = mqttbeam(*command, cwd=tmp_path)
    assert_refused(done, message)


@pytest.mark.parametrize("command", ["run", "send", "query", "tail", "archive", "local create"])
def test_help_shows_examples(command: str, tmp_path: Path) -> None:
    done = mqttbeam(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"mqttbeam {command}" in done.stdout.split("Example")[1]


@pytest.mark.parametrize("command", ["broker", "templates", "local"])
def test_a_group_alone_prints_its_help(command: str, tmp_path: Path) -> None:
    done = mqttbeam(command, cwd=tmp_path)
    assert "Commands" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["cli", "cli.main"])
def test_it_is_a_module_too(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert "Commands" in done.stdout


def interrupted(number: int, importing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose process gets a signal as it imports a module."""
    code = f"""import os, sys
sys.path.insert(0, {str(PROJECT)!r})
class Sender:
    def find_spec(name, path, target=None):
        if name == {importing!r}:
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Sender)
from cli.main import main
main()
"""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("importing", ["typer", "cli.local", "broker.server"])
def test_ctrl_c_while_it_imports_is_no_defect(importing: str) -> None:
    done = interrupted(signal.SIGINT, importing, "broker", "serve", "--config", "none.yaml")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_broker_that_is_told_to_reload_while_it_imports_goes_on() -> None:
    done = interrupted(signal.SIGHUP, "typer", "broker", "serve", "--config", "none.yaml")
    assert done.returncode == 2
    assert done.stderr == "error: none.yaml: cannot be read: No such file or directory\n"
    assert interrupted(signal.SIGHUP, "typer", "plan").returncode == -signal.SIGHUP


def test_help_imports_no_beam_and_no_grpc(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from cli.commands import app\n"
        "print([name for name in ('apache_beam', 'grpc', 'duckdb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"
