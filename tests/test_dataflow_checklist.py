"""The check-list can't be run here; what it types is held to the command line and the templates."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from templates.catalog import TEMPLATES, template_named

PAGE = (Path(__file__).parent.parent / "docs" / "dataflow-checklist.md").read_text("utf-8")
STEPS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
COMMANDS = [
    line
    for block in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mqttbeam ")
]


def parsed(words: list[str]) -> dict[str, Any]:
    """The values that a command line gives to its command. Raises click's errors."""
    command: Any = typer.main.get_command(app)  # typer brings a click of its own
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    values: dict[str, Any] = command.make_context(command.name, list(words)).params
    return values


def test_steps_are_numbered_and_each_has_commands_and_says_what_must_be_seen() -> None:
    assert [step.partition(".")[0] for step in STEPS] == [str(n + 1) for n in range(len(STEPS))]
    for step in STEPS:
        assert "**Seen:**" in step or "what you do | the alert" in step, step[:40]
        assert "```text\n" in step or "again as in step" in step, step[:40]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_taken_by_the_command_line(command: str) -> None:
    values = parsed(shlex.split(command)[1:])
    if "param" not in values:
        return
    template = template_named(str(values["name"]))
    given = dict(pair.split("=", 1) for pair in values["param"])
    for name, value in given.items():
        if "$" not in value:
            template.parameter(name).check(value)
        assert template.parameter(name)
    assert {each.name for each in template.parameters if not each.optional} <= set(given)


@pytest.mark.parametrize(
    "topic",
    ["launch", "update in place", "drain", "at_least_once", "vm is killed", "credential is rotated",
     "dead letters", "alerts", "make image", "mqttbeam doctor", "archive", "transformnamemappings",
     "sessions_ended"],
)  # fmt: skip
def test_nothing_that_must_be_proved_is_left_out(topic: str) -> None:
    assert topic in PAGE.lower()


def test_every_template_is_launched() -> None:
    launched = {shlex.split(each)[3] for each in COMMANDS if " templates launch " in each}
    assert launched == {template.name for template in TEMPLATES}
