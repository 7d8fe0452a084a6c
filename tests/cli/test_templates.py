"""`mqttbeam templates`, as a real process."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.commandline import PROJECT, assert_refused, mqttbeam

TEMPLATES = PROJECT / "templates"
SPEC = ["spec", "mqtt-to-pubsub", "--image", "registry.example.com/mqttbeam:1"]
LAUNCH = [
    *("launch", "pubsub-to-bigquery", "--project", "my-project", "--region", "europe-west1"),
    *("--job", "warehouse", "--spec", "gs://my-bucket/spec.json"),
    *("--param", "inputSubscription=projects/my-project/subscriptions/telemetry"),
]


def _templates(*arguments: str, cwd: Path) -> CompletedProcess[str]:
    return mqttbeam("templates", *arguments, cwd=cwd)


def test_a_template_is_described(tmp_path: Path) -> None:
    assert "pubsub-to-bigquery" in _templates("describe", cwd=tmp_path).stdout
    done = _templates("describe", "pubsub-to-bigquery", cwd=tmp_path)
    assert "outputTableSpec  (required)" in done.stdout


def test_a_template_is_described_for_programs_as_its_metadata(tmp_path: Path) -> None:
    done = _templates("describe", "mqtt-to-pubsub", "--json", cwd=tmp_path)
    file = TEMPLATES / "mqtt_to_pubsub" / "metadata.json"
    assert json.loads(done.stdout) == json.loads(file.read_text())
    listed = json.loads(_templates("describe", "--json", cwd=tmp_path).stdout)
    assert {"name": "mqtt-to-pubsub", "title": "MQTT to Pub/Sub"} in listed


def test_help_of_a_launch_breaks_no_sentence(tmp_path: Path) -> None:
    lines = _templates("launch", "--help", cwd=tmp_path).stdout.splitlines()
    text = [line.strip() for line in lines[: lines.index(next(filter(_is_box, lines)))]]
    assert [line for line in text if line and len(line) < 30] == []


def _is_box(line: str) -> bool:
    return line.startswith("╭")


def test_a_specification_is_written(tmp_path: Path) -> None:
    image = "registry.example.com/mqttbeam:1"
    done = _templates(
        "spec", "mqtt-to-pubsub", "--image", image, "--output", "spec.json", cwd=tmp_path
    )
    assert done.returncode == 0
    assert json.loads((tmp_path / "spec.json").read_text())["image"] == image


def test_a_template_is_checked(tmp_path: Path) -> None:
    done = _templates("check", "pubsub-to-bigquery", cwd=tmp_path)
    assert done.stdout == "pubsub-to-bigquery: as promised\n", done.stderr
    assert done.returncode == 0


def test_a_launch_shows_the_request_and_never_goes_unasked(tmp_path: Path) -> None:
    done = _templates(*LAUNCH, "--param", "outputTableSpec=my-project:d.t", cwd=tmp_path)
    assert done.returncode == 2
    assert '"outputTableSpec": "my-project:d.t"' in done.stderr
    assert "\nwarning: " not in done.stderr
    assert "\ncost: $" in done.stderr
    assert done.stderr.endswith("error: nobody is here to be asked: give --yes to launch\n")
    assert done.stdout == ""


def test_what_is_hardly_meant_is_warned_of_before_the_question(tmp_path: Path) -> None:
    done = _templates(
        *("launch", "mqtt-to-pubsub", "--project", "my-project", "--region", "europe-west1"),
        *("--job", "telemetry", "--spec", "gs://my-bucket/spec.json", "--max-workers", "1"),
        *("--param", "brokerServer=mqtts://broker.example.com", "--param", "clientId=telemetry"),
        *("--param", "outputTopic=projects/my-project/topics/telemetry", "--param", "shards=4"),
        cwd=tmp_path,
    )
    assert "\nwarning: --max-workers 1 for shards=4: a worker carries one" in done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["describe", "mqtt"], "error: no template 'mqtt': there are mqtt-to-pubsub"),
        (["check", "mqtt"], "error: no template 'mqtt'"),
        (["describe", "mqtt_to_pubsub"], "error: no template 'mqtt_to_pubsub': did you mean mqtt-"),
        (["spec", "mqtt-to-pubsub", "--image", "i"], "error: --image 'i': must be REGISTRY/PATH"),
        ([*SPEC, "--output", ""], "error: --output '': must name a file"),
        ([*SPEC, "--output", "."], "error: --output '.': Is a directory"),
        (
            ["build", "--repository", "", "--tag", "1"],
            "error: --repository '': must be like europe",
        ),
        (
            ["build", "--repository", "r.example.com/p", "--tag", "a b"],
            "error: --tag 'a b': must be",
        ),
        (LAUNCH, "error: outputTableSpec: is missing"),
        (
            [*LAUNCH, "--param", "hunter2"],
            "error: --param: must be NAME=VALUE, as in --param startTimeoutSeconds=60",
        ),
        ([*LAUNCH, "--param", "inputSubscription=x"], "error: --param inputSubscription: is given"),
        ([*LAUNCH, "--param", "inputTopic=x"], "error: inputTopic: pubsub-to-bigquery has no such"),
        (
            [*LAUNCH, "--param", "outputTableSpec=my-project:d.t", "--max-workers", "0"],
            "error: --max-workers 0: must be 1 to 1000",
        ),
    ],
)
def test_what_can_t_be_is_one_line_and_exit_status_2(
    command: list[str], message: str, tmp_path: Path
) -> None:
    done = _templates(*command, cwd=tmp_path)
    assert_refused(done, message)
    assert "hunter2" not in done.stderr
