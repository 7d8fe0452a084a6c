"""What the launcher runs: it returns when the job is there, and says what is wrong in a line."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from templates import entry
from templates.catalog import FOLDER, TEMPLATES, Template, template_named
from templates.promises import examples

IMAGE = "europe-docker.pkg.dev/my-project/mqttbeam/templates:1.0"


def arguments(template: Template, folder: Path) -> list[str]:
    """What a launcher gives, staging into a folder."""
    return [
        *(f"--{name}={value}" for name, value in examples(template).items()),
        "--runner=DataflowRunner",
        "--no_auth",
        "--dataflow_endpoint=http://localhost:1",
        f"--template_location={folder}/job.json",
        f"--staging_location={folder}",
        f"--temp_location={folder}",
        "--project=my-project",
        "--region=europe-west1",
        "--job_name=job",
        f"--sdk_container_image={IMAGE}",
    ]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_it_returns_when_the_job_is_submitted(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []
    known = dataclasses.replace(template, check=checked.append, needs=lambda options: ())
    monkeypatch.setattr(entry, "template_named", lambda name: known)
    assert entry.main(template.name, arguments(template, tmp_path)) == 0
    assert [type(options) for options in checked] == [template.options]
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["type"] == "JOB_TYPE_STREAMING"
    assert set(template.experiments) <= set(job["environment"]["experiments"])


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("--sdk_container_image", "the workers need the template's own image"),
        ("--runner", "a template is launched on Dataflow"),
        ("--outputTopic", "outputTopic: is missing"),
    ],
)
def test_what_would_fail_later_fails_at_once(
    without: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = template_named("mqtt-to-pubsub")
    argv = [each for each in arguments(template, tmp_path) if not each.startswith(f"{without}=")]
    assert entry.main(template.name, argv) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "job.json").exists()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_launcher_s_file_is_that_template(template: Template, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, template.folder / "main.py", "--passwordSecretId=hunter2"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{template.name}: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_help_needs_no_parameters(template: Template, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(template.name, ["--help"]) == 0
    said = capsys.readouterr().out
    for parameter in template.parameters:
        assert f"\n{parameter.name}" in said
        assert f"\n    Example: {parameter.example}" in said


def test_help_says_of_each_parameter_what_the_console_s_form_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert entry.main("mqtt-to-pubsub", ["--help"]) == 0
    parts = dict(part.split("\n", 1) for part in _parts(capsys.readouterr().out))
    assert all(part.count("    Type: ") == 1 for part in parts.values())
    assert "    Type: ENUM, one of 5, 3.1.1\n" in parts["protocol"]
    assert "    Type: PUBSUB_TOPIC\n" in parts["outputTopic  (required)"]
    assert "    Only with shards=1\n" in parts["ordered"]
    assert "    Only with clientCertificateSecretId\n" in parts["clientKeySecretId"]
    assert "Only with" not in parts["shards"]


def _parts(said: str) -> list[str]:
    """What is said of each parameter, its name's line first."""
    return re.findall(r"^\S.*\n(?:    .*\n)+", said, re.MULTILINE)
