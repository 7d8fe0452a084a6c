"""Building by an engine. None runs here, so a program stands for it that writes down its commands
and answers as docker and podman do; `make image` takes the real one where there is one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from templates.catalog import TEMPLATES, template_named
from templates.errors import ImageError, TemplateError
from templates.image.build import build_images
from templates.image.engine import Engine, find_engine
from templates.image.locked import BaseImage, read_lock, write_lock
from tests.templates.image.dockerfile import PROJECT

DIGEST = f"sha256:{'5' * 64}"
PUSHED = f"sha256:{'7' * 64}"
IMAGE = BaseImage(role="python", image="docker.io/library/python", tag="3.11-slim", digest=DIGEST)
REPOSITORY = "europe-docker.pkg.dev/my-project/mqttbeam"

_ENGINE = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
arguments = sys.argv[1:]
with (folder / "commands").open("a") as log:
    log.write(json.dumps([os.getcwd(), *arguments]) + "\\n")
command = arguments[0]
if (folder / "broken").exists() and command in (folder / "broken").read_text():
    sys.exit(command + ": no space left on device")
if command in ("version", "info"):
    print("28.2.2")
if command == "build":
    print("#1 building", os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS"))
for each in arguments:
    if each.startswith("--digestfile="):
        pathlib.Path(each.partition("=")[2]).write_text({pushed!r})
if command == "image":
    image = arguments[-1].rpartition(":")[0]
    print(json.dumps(["other.example.com/x@" + {pushed!r}, image + "@" + {pushed!r}]))
"""


class FakeEngine:
    """A program on PATH under an engine's name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        program = folder / name
        program.write_text(_ENGINE.format(python=sys.executable, folder=str(folder), pushed=PUSHED))
        program.chmod(0o755)

    def breaks(self, command: str) -> None:
        (self.folder / "broken").write_text(command)

    def commands(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "commands").read_text().splitlines()]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("PATH", str(tmp_path))
    return FakeEngine(tmp_path, "docker")


def test_docker_is_taken_where_it_answers(docker: FakeEngine) -> None:
    FakeEngine(docker.folder, "podman")
    assert find_engine() == Engine(name="docker")
    docker.breaks("version")
    assert find_engine() == Engine(name="podman")


def test_without_an_engine_it_says_what_each_said_and_what_to_do(docker: FakeEngine) -> None:
    docker.breaks("version")
    with pytest.raises(ImageError) as raised:
        find_engine()
    assert "docker: version: no space left on device; podman is not installed" in str(raised.value)
    assert "Install or start docker or podman" in str(raised.value)


def test_an_image_is_built_by_the_digests_of_the_lock(docker: FakeEngine) -> None:
    template = template_named("mqtt-to-pubsub")
    built = build_images([template], repository=REPOSITORY, tag="1.0", images=lambda: [IMAGE])
    assert list(built) == [(template, f"{REPOSITORY}/mqtt-to-pubsub:1.0")]
    folder, command, *arguments = docker.commands()[-1]
    assert (folder, command, arguments[-1]) == (str(PROJECT), "build", ".")
    assert set(arguments[:-1]) == {
        "--platform=linux/amd64",
        "--file=templates/Dockerfile",
        f"--tag={REPOSITORY}/mqtt-to-pubsub:1.0",
        f"--build-arg=PYTHON_DIGEST={DIGEST}",
        "--build-arg=TEMPLATE=mqtt_to_pubsub",
    }


def test_as_root_is_asked_for(docker: FakeEngine) -> None:
    template = template_named("mqtt-to-pubsub")
    list(build_images([template], repository=REPOSITORY, tag="1", as_root=True, images=list))
    assert "--build-arg=RUN_AS=0" in docker.commands()[-1]


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_what_is_pushed_is_known_by_its_digest(name: str, docker: FakeEngine) -> None:
    if name == "podman":
        (docker.folder / "docker").rename(docker.folder / "podman")
    template = template_named("mqtt-to-pubsub")
    ((_, image),) = build_images(
        [template], repository=REPOSITORY, tag="1.0", push=True, images=lambda: [IMAGE]
    )
    assert image == f"{REPOSITORY}/mqtt-to-pubsub@{PUSHED}"
    assert "push" in [each[1] for each in docker.commands()]


def test_nothing_is_built_without_digests(docker: FakeEngine) -> None:
    images = [IMAGE, BaseImage(role="beam", image="docker.io/apache/beam", tag="2.77.0")]
    with pytest.raises(ImageError, match="Run `make image-lock`"):
        list(build_images(TEMPLATES, repository=REPOSITORY, tag="1.0", images=lambda: images))
    assert not (docker.folder / "commands").exists()


def test_nothing_is_built_for_a_place_that_is_none(docker: FakeEngine) -> None:
    with pytest.raises(TemplateError, match="must be REGISTRY/PATH:TAG"):
        list(build_images(TEMPLATES, repository="mqttbeam", tag="a b", images=lambda: [IMAGE]))
    assert not (docker.folder / "commands").exists()


@pytest.mark.parametrize("command", ["build", "push"])
def test_what_the_engine_says_of_its_failure_is_seen(
    command: str, docker: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    docker.breaks(command)
    template = template_named("mqtt-to-pubsub")
    with pytest.raises(ImageError, match=f"docker {command} failed with status 1"):
        list(
            build_images(
                [template], repository=REPOSITORY, tag="1", push=True, images=lambda: [IMAGE]
            )
        )
    assert f"{command}: no space left on device" in capfd.readouterr().err


def test_outside_a_checkout_it_says_so(docker: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="Run it in a checkout of the project"):
        Engine(name="docker").build(TEMPLATES[0], "x/y:1", digests={}, project=tmp_path / "lib")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the project whose base images are resolved."""
    project = tmp_path / "checkout"
    for room in ("mqtt", "schemas", "transforms", "pipelines", "templates", "cli"):
        shutil.copytree(
            PROJECT / room, project / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    lock = project / "templates" / "images.lock"
    resolved = [
        BaseImage(role=each.role, image=each.image, tag=each.tag, digest=DIGEST)
        for each in read_lock(lock)
    ]
    write_lock(resolved, lock)
    return project


def build(*arguments: str, project: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`mqttbeam templates build` of a checkout, with the engine on PATH."""
    code = "from cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, "templates", "build", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_builds_pushes_and_writes_the_specifications(
    docker: FakeEngine, checkout: Path, tmp_path: Path
) -> None:
    where = ("--repository", REPOSITORY, "--tag", "1.0", "--push", "--output", "specs/new")
    done = build(*where, project=checkout, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [f"specs/new/{each.name}.json {REPOSITORY}/{each.name}@{PUSHED}" for each in TEMPLATES]
    assert done.stdout.splitlines() == lines
    assert "#1 building 1" in done.stderr
    for each in TEMPLATES:
        spec = json.loads((tmp_path / "specs" / "new" / f"{each.name}.json").read_text())
        assert spec["image"] == f"{REPOSITORY}/{each.name}@{PUSHED}"
        assert spec["defaultEnvironment"]["sdkContainerImage"] == spec["image"]


def test_the_command_fails_with_one_sentence(
    docker: FakeEngine, checkout: Path, tmp_path: Path
) -> None:
    docker.breaks("version")
    where = ("mqtt-to-pubsub", "--repository", REPOSITORY, "--tag", "1.0")
    done = build(*where, project=checkout, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: not built: no container engine runs here (docker: ")
    assert done.stdout == ""
    assert not (tmp_path / "mqtt-to-pubsub.json").exists()
