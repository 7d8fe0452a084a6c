"""The Dockerfile is linted: hadolint's rules, and those that it doesn't know. Half a second."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from templates.catalog import TEMPLATES
from templates.image.locked import read_lock
from tests.templates.image.dockerfile import DOCKERFILE, PROJECT, stages

TEXT = DOCKERFILE.read_text()
HADOLINT = Path(sys.executable).parent / "hadolint"


def hadolint(text: str) -> list[str]:
    done = subprocess.run(
        [str(HADOLINT), "--no-color", "--failure-threshold=style", "-"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).splitlines()


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile, by our own rules."""
    found = []
    known = stages(text)
    locked = {f"{each.image}:{each.tag}@${{{each.argument}}}" for each in read_lock()}
    bases = {stage.base for stage in known.values() if stage.base not in known}
    if bases != locked:
        found.append(f"its bases are not those of images.lock by digest: {sorted(bases ^ locked)}")
    commands = [value for stage in known.values() for value in stage.of("RUN")]
    for command in commands:
        for each in re.split(r"&&|;", command):
            words = shlex.split(each)
            if "pip" in words and "install" in words:
                wanted = {"--require-hashes", "--no-deps", "--no-cache-dir", "--only-binary"}
                if missing := wanted - set(words):
                    found.append(f"pip install without {sorted(missing)}")
            if words[:1] == ["apt-get"] and "/var/lib/apt/lists" not in command:
                found.append("apt's lists stay in the image")
            if words[:1] and words[0] in ("curl", "wget"):
                found.append("something is downloaded that no lock file knows")
    if not any("pip check" in command for command in commands):
        found.append("no pip check")
    names = [
        value.partition("=")[0]
        for stage in known.values()
        for kind, value in stage.steps
        if kind in ("ARG", "ENV")
    ]
    found += [
        f"{name}: a secret would stay in the image"
        for name in names
        if re.search("TOKEN|SECRET|PASSWORD|KEY|CREDENTIAL", name, re.IGNORECASE)
    ]
    if any(stage.of("ADD") for stage in known.values()):
        found.append("ADD, which downloads and unpacks")
    last = list(known.values())[-1]
    arguments = dict(value.split("=", 1) for value in last.of("ARG") if "=" in value)
    user = (last.of("USER") or ["0"])[-1]
    user = re.sub(r"\$\{(\w+)\}", lambda name: arguments.get(name[1], "0"), user)
    if not re.fullmatch("[1-9][0-9]*", user):
        found.append("it runs as root, or as a user whose number isn't seen")
    return found


def test_hadolint_finds_nothing() -> None:
    assert hadolint(TEXT) == []


def test_hadolint_would_find_something() -> None:
    assert any("DL3020" in line for line in hadolint(TEXT.replace("COPY mqtt", "ADD mqtt")))


def test_our_rules_find_nothing() -> None:
    assert faults(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("@${PYTHON_DIGEST}", "", "not those of images.lock"),
        (":2.77.0@", ":2.76.0@", "not those of images.lock"),
        ("--require-hashes", "", "pip install without"),
        ("--no-deps", "", "pip install without"),
        ("python -m pip check", "true", "no pip check"),
        ("RUN useradd", "RUN apt-get update && useradd", "apt's lists stay"),
        ("RUN useradd", "RUN curl -O x && useradd", "no lock file knows"),
        ("ARG TEMPLATE", "ARG TEMPLATE\nARG NPM_TOKEN", "a secret would stay"),
        ("COPY mqtt", "ADD mqtt", "ADD, which downloads"),
        ("RUN_AS=65532", "RUN_AS=0", "runs as root"),
        ("USER ${RUN_AS}", "", "runs as root"),
        ("USER ${RUN_AS}", "USER mqttbeam", "runs as root"),
    ],
)
def test_our_rules_find_what_they_are_for(old: str, new: str, words: str) -> None:
    assert old in TEXT
    assert any(words in fault for fault in faults(TEXT.replace(old, new)))


def test_each_template_has_an_entry_point_where_the_image_looks_for_it() -> None:
    (variable,) = [
        value
        for value in stages(TEXT)["template"].of("ENV")
        if value.startswith("FLEX_TEMPLATE_PYTHON_PY_FILE=")
    ]
    for template in TEMPLATES:
        path = variable.partition("=")[2].replace("${TEMPLATE}", template.folder.name)
        assert (PROJECT / path.removeprefix("/template/")).is_file()


def test_workers_and_launcher_find_what_they_start() -> None:
    last = stages(TEXT)["template"]
    assert last.of("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    assert "--from=beam /opt/apache/beam /opt/apache/beam" in last.of("COPY")
    assert (
        "--from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/"
        in last.of("COPY")
    )


def test_every_file_that_is_copied_is_sent_to_the_engine_and_little_else() -> None:
    sent = set(re.findall("^!(.+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        source.partition("/")[0]
        for value in stages(TEXT)["application"].of("COPY")
        for source in value.split()[:-1]
    }
    assert sent == copied
    assert (PROJECT / ".dockerignore").read_text().splitlines()[1] == "*"
