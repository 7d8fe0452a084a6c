"""The check-list can't be run here; what it types is held to the command line and the templates."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.commands import app
from templates.catalog import TEMPLATES, template_named

PATH = Path(__file__).parent.parent / "docs" / "dataflow-checklist.md"
PAGE = PATH.read_text("utf-8")
STEPS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
LINES: list[str] = [
    line
    for block in re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [line for line in LINES if line.startswith("mqttbeam ")]


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


def test_a_launch_puts_its_files_into_the_list_s_own_bucket() -> None:
    for command in COMMANDS:
        if " templates launch " in command:
            values = parsed(shlex.split(command)[1:])
            assert values["staging_location"] == "gs://$BUCKET/staging"
            assert values["temp_location"] == "gs://$BUCKET/temp"


def test_an_upload_fails_where_a_specification_is_there_already() -> None:
    (upload,) = (line for line in LINES if "gcloud storage cp " in line)
    assert " --if-generation-match=0 " in upload


def one(*words: str) -> str:
    """The one line with all of the words."""
    (found,) = (line for line in LINES if all(word in line for word in words))
    return found


def looped(line: str) -> set[str]:
    """What a loop of the shell goes through."""
    found = re.match(r"for \w+ in ([^;]+);", line)
    assert found is not None, line
    return set(found[1].split())


def test_a_new_project_gets_the_services_that_the_site_of_terraform_enables() -> None:
    site = PATH.parent.parent / "deploy" / "terraform" / "examples" / "site" / "foundation.tf"
    enabled = set(re.findall(r'"([a-z]+)\.googleapis\.com"', site.read_text("utf-8")))
    assert looped(one("gcloud services enable $service.googleapis.com")) == enabled


def test_the_workers_account_may_start_a_flex_template() -> None:
    # The machine that starts it runs as this account, creates the job and acts as itself.
    assert {"dataflow.worker", "dataflow.developer"} <= looped(one(" add-iam-policy-binding $PROJ"))
    account = "service-accounts add-iam-policy-binding $WORKERS"
    one(account, "--member=serviceAccount:$WORKERS", "--role=roles/iam.serviceAccountUser")
    # Yours, to launch jobs that run as it and to ask for its rights.
    assert looped(one(account, "--member=user:")) == {
        "iam.serviceAccountUser",
        "iam.serviceAccountTokenCreator",
    }


def test_what_was_made_is_deleted_in_the_end() -> None:
    end = STEPS[-1]
    made = {
        kind: set(re.findall(rf"gcloud {kind} create ([^\s;]+)", PAGE))
        for kind in ("storage buckets", "artifacts repositories", "secrets", "pubsub subscriptions")
    }
    assert made["pubsub subscriptions"] >= {"telemetry-warehouse", "telemetry-once"}
    for kind, names in made.items():
        command = "storage rm -r" if kind == "storage buckets" else f"{kind} delete"
        deleted = " ".join(re.findall(rf"gcloud {command} (.+)$", end, re.MULTILINE)).split()
        if kind == "pubsub subscriptions":
            names.discard("telemetry-once")  # with its job, in its own step
        assert names <= set(deleted), kind
    topics = looped(one("gcloud pubsub topics create $topic"))
    assert topics <= set(one("pubsub topics delete telemetry telemetry-").split())
    assert "bq rm -r -f iot" in end
    assert "gcloud iam service-accounts delete $WORKERS" in end
    given, taken = (
        looped(one(f"projects {verb}-iam-policy-binding $PROJECT", "for role in"))
        for verb in ("add", "remove")
    )
    # A deleted account's roles stay in the policy.
    assert given == taken
