"""The runbook can't be run here; what it types is held to what it calls, and its program runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from localcloud.pubsub.embedded import LocalPubSub
from schemas.messages import Rejected
from schemas.tables import TELEMETRY
from templates.catalog import template_named
from tests.deploy.modules import read
from tests.test_dataflow_checklist import parsed
from tests.test_docs import ROOT, anchors
from transforms.archive import record
from transforms.dead_letter import Stored, dead_letter_message

PATH = ROOT / "docs" / "runbook.md"
PAGE = PATH.read_text("utf-8")
SITE = ROOT / "deploy" / "terraform" / "examples" / "site"


def lines() -> Iterator[str]:
    """The commands of every block, those that go on over several lines in one."""
    for block in re.findall(r"^ *```text\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            yield line.strip()


LINES = list(lines())
OURS = [line for line in LINES if line.startswith("mqttbeam ")]


def commands_of(line: str) -> Iterator[list[str]]:
    """The commands of a line, also those in a loop, a function or a substitution."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in (";", "do", "{", "}", "done"):
            if words:
                yield words
            words = []
        elif word not in ("$", "(", ")", "()"):
            words.append(word)


def by_shell() -> Iterator[tuple[str, str]]:
    """The commands behind "At hand", each with the shell that the page sends it to."""
    shell = "launcher"
    text = re.sub(r" *\\\n *", " ", PAGE[PAGE.index("\n## Launch") :])
    block: str | None = None
    for line in map(str.strip, text.splitlines()):
        if opened := re.fullmatch(r"(?:\d+\. )?```(\w*)", line):
            if line[0].isdigit():
                shell = "launcher"
            block = opened[1] or None
        elif block == "text":
            yield shell, line
        elif block is None:
            if re.match(r"#|\d+\. |\*\*Owner:", line):
                shell = "owner" if "**Owner:**" in line else "launcher"
            if "the launcher's shell" in line:
                shell = "launcher"


# What the roles of service-accounts give the launcher, and what needs no rights.
OF_THE_LAUNCHER = (
    "gcloud dataflow ",
    "gcloud logging read ",
    "gcloud storage ls ",
    "mqttbeam plan ",
    "mqttbeam templates check",
    "mqttbeam templates launch ",
)


def test_each_command_is_for_the_shell_of_an_account_that_may_run_it() -> None:
    found = list(by_shell())
    assert {shell for shell, _ in found} == {"launcher", "owner"}
    for shell, line in found:
        if shell == "launcher":
            assert line.startswith(OF_THE_LAUNCHER), line
        else:
            # A job is launched by the account that may do nothing else.
            assert not line.startswith("mqttbeam templates launch "), line


def test_the_launcher_s_account_is_kept_out_of_the_owner_s_shell() -> None:
    block = next(
        each
        for each in re.findall(r"^```text\n(.*?)^```$", PAGE, re.M | re.S)
        if "impersonate" in each
    )
    # gcloud's folder and google-auth's; Terraform reads no credentials from it.
    assert block.startswith("export CLOUDSDK_CONFIG=$HOME/.config/gcloud-iot-launcher\n")
    assert "impersonate" not in PAGE.replace(block, "")


GOOGLES = [words for line in LINES for words in commands_of(line) if words[0] in ("gcloud", "bq")]
TERRAFORMS = [line for line in LINES if line.startswith("terraform ")]


def parts(title: str) -> str:
    """A part of the page, with its heading and what is below it."""
    found = re.search(rf"^## {title}$.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[0]


@pytest.mark.parametrize(
    "title",
    ["Launch", "Update in place", "Drain", "Scale in", "Roll back", "Rotate a credential",
     "Replay", "Alerts"],
)  # fmt: skip
def test_a_part_is_numbered_steps_with_commands_and_what_must_be_seen(title: str) -> None:
    part = parts(title)
    for numbered in re.split(r"^1\. ", part, flags=re.MULTILINE)[1:]:
        steps = re.findall(r"^(\d+)\. ", f"1. {numbered}", re.MULTILINE)
        assert steps == [str(number + 1) for number in range(len(steps))]
    assert "```text\n" in part
    assert part.count("**Seen:**") >= 1
    for step in re.split(r"^ *\d+\. ", part, flags=re.MULTILINE)[1:]:
        if "```text" in step:
            assert "**Seen:**" in step or "[drain](#drain)" in step.lower(), step


@pytest.mark.parametrize("command", OURS, ids=lambda line: line[:60])
def test_our_commands_are_taken_by_the_command_line(command: str) -> None:
    values = parsed(shlex.split(command)[1:])
    if not values.get("param"):
        return
    template = template_named(str(values["name"] if "name" in values else values["template"]))
    given = dict(pair.split("=", 1) for pair in values["param"])
    template.read({name: value.replace("$PROJECT", "my-project") for name, value in given.items()})


def test_there_are_commands_of_each_kind() -> None:
    assert len(OURS) >= 5
    assert len(GOOGLES) >= 15
    assert len(TERRAFORMS) >= 5


@pytest.mark.parametrize("words", GOOGLES, ids=lambda words: " ".join(words)[:60])
def test_google_s_commands_are_well_formed(words: list[str]) -> None:
    groups = {
        "gcloud": {
            "auth", "config", "dataflow", "logging", "pubsub", "secrets", "services", "storage",
        },
        "bq": {"load", "query", "rm"},
    }  # fmt: skip
    assert words[1] in groups[words[0]]
    for word in words[1:]:
        # -f is bq's, for not asking.
        assert re.fullmatch(r"--[a-z][a-z_-]+(=.+)?|-f|[^-].*", word), word
    if words[0] == "gcloud" and words[1:3] == ["dataflow", "jobs"]:
        assert "--region=$REGION" in words


def test_what_terraform_itself_needs_is_enabled_before_the_first_apply() -> None:
    first = next(index for index, line in enumerate(LINES) if " apply " in line)
    (enabled,) = (line.split() for line in LINES[:first] if line.startswith("gcloud services "))
    assert set(enabled[3:]) == {
        "cloudresourcemanager.googleapis.com",
        "serviceusage.googleapis.com",
    }


def test_the_plan_is_of_the_load_that_its_devices_make() -> None:
    (command,) = (line for line in OURS if line.startswith("mqttbeam plan "))
    planned = parsed(shlex.split(command)[1:])
    # --rate is of all devices together: with 0.1 of it any fleet would need one shard.
    assert (planned["devices"], planned["interval"], planned["rate"]) == (100_000, 10, None)


def test_a_launch_puts_its_files_where_the_workers_may_write() -> None:
    launches = [line for line in OURS if " templates launch " in line]
    assert launches
    for line in launches:
        values = parsed(shlex.split(line)[1:])
        assert values["staging_location"] == f"gs://$BUCKET/staging/{values['job']}"
        assert values["temp_location"] == f"gs://$BUCKET/temp/{values['job']}"


def test_an_upload_fails_where_a_specification_is_there_already() -> None:
    uploads = [line for line in LINES if "gcloud storage cp " in line]
    assert uploads
    for line in uploads:
        # Kept in silence, one that somebody else made would be launched under the release's name.
        assert "--if-generation-match=0 " in line
        assert "--no-clobber" not in line


@pytest.mark.parametrize("command", TERRAFORMS, ids=lambda line: line[:60])
def test_terraform_is_given_what_the_site_has(command: str) -> None:
    site = read(SITE)
    words = shlex.split(command)[1:]
    assert words[0] == "-chdir=$SITE"
    for word in words[2:]:
        option, _, value = word.partition("=")
        if option == "-var":
            assert value.partition("=")[0] in site.variables
        elif option == "-target":
            assert value.removeprefix("module.") in {call.name for call in site.calls}
        else:
            assert (words[1], word) == ("output", "nat_addresses")
            assert word in site.outputs


def test_what_it_names_is_what_the_site_makes() -> None:
    text = "\n".join(path.read_text("utf-8") for path in SITE.glob("*.tf"))
    for kind, names in {
        "subscription": re.findall(r"subscriptions (?:seek|pull|update) ([\w-]+)", PAGE),
        "secret": re.findall(r"secrets/([\w-]+)|versions add ([\w-]+)", PAGE),
    }.items():
        for found in names:
            for name in filter(None, [found] if isinstance(found, str) else found):
                assert re.search(rf"\b{name}\b", text), f"{kind} {name}"
    assert "commands-mqtt" not in re.findall(r"subscriptions seek ([\w-]+)", PAGE)


def test_links_within_the_page_lead_somewhere() -> None:
    there = anchors(PATH)
    for target in re.findall(r"\]\(#([\w-]+)\)", PAGE):
        assert target in there


def test_its_program_sends_dead_letters_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "send_again"}
    with LocalPubSub() as pubsub:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.endpoint)
        publisher, subscriber = PublisherClient(), SubscriberClient()
        paths = {}
        for name in ("telemetry", "dead-letters"):
            topic = publisher.topic_path("my-project", name)
            paths[name] = (topic, subscriber.subscription_path("my-project", name))
            publisher.create_topic(name=topic)
            subscriber.create_subscription(name=paths[name][1], topic=topic)
        for message, more in ((b"\x00good", {}), (b"part", {"deadLetterTruncated": "9000001"})):
            data, attributes = dead_letter(message)
            publisher.publish(paths["dead-letters"][0], data, **attributes, **more).result(10)
        exec(compile(code, "runbook.md", "exec"), names)
        sent = names["send_again"](
            paths["dead-letters"][1], paths["telemetry"][0], quiet_seconds=0.5
        )
        assert sent == 1
        answer = subscriber.pull(subscription=paths["telemetry"][1], max_messages=10, timeout=10)
    (received,) = answer.received_messages
    assert received.message.data == b"\x00good"
    assert dict(received.message.attributes) == {"deviceId": "d1"}


def dead_letter(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """A dead letter as the telemetry pipeline writes it."""
    rejected = Rejected(
        stage="publish",
        reason="too long",
        origin="projects/my-project/topics/telemetry",
        raw=raw,
        time=datetime(2026, 1, 31, tzinfo=UTC),
        attributes={"deviceId": "d1"},
    )
    message: Any = dead_letter_message(rejected, Stored(raw, None, None))
    return message.data, dict(message.attributes)


def test_rows_of_the_archive_have_the_columns_of_the_table() -> None:
    (left_out,) = re.findall(r"SELECT \* EXCEPT \(([\w, ]+)\) FROM iot\.replay", PAGE)
    columns = [field["name"] for field in record.SCHEMA["fields"]]
    rows = [name for name in columns if name not in left_out.split(", ")]
    # INSERT without names goes by the order.
    assert rows == [field.name for field in TELEMETRY.fields]
