"""Where the image's programs run in a test: in the image, or where nothing can build it, in a
virtual environment in which the Python part of its Dockerfile was executed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.prism import cached_path
from templates.catalog import template_named
from templates.errors import ImageError
from templates.image.engine import Engine, find_engine
from templates.image.locked import UNRESOLVED, digests, read_lock
from tests.templates.image.dockerfile import DOCKERFILE, Execution, stages

REFERENCE = "localhost/mqttbeam/mqtt-to-pubsub:trial"


class Place(Protocol):
    """Where the image's Python is."""

    @property
    def prism(self) -> str:
        """Where Prism is there; it is no part of the image."""

    @property
    def scratch(self) -> str:
        """A folder of its own that its programs may write to."""

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """The command, on this machine, that runs its Python with these arguments."""

    def read(self, path: str) -> str:
        """The text of one of its files, by its absolute path in the image."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """The image, by an engine; on this machine's network, so that it reaches loopback."""

    engine: Engine

    @property
    def prism(self) -> str:
        return "/prism/prism"

    @property
    def scratch(self) -> str:
        return "/tmp"

    def run(self, program: str, *arguments: str) -> list[str]:
        mounted = f"--volume={cached_path().parent}:/prism:ro"
        return [
            *(self.engine.name, "run", "--rm", "--network=host", mounted),
            *(f"--entrypoint={program}", REFERENCE, *arguments),
        ]

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        given = [f"{name}={value}" for name, value in (environment or {}).items()]
        return self.run("env", *given, "python", *arguments)

    def read(self, path: str) -> str:
        return subprocess.run(
            self.run("cat", path), capture_output=True, text=True, check=True
        ).stdout


@dataclass(frozen=True, kw_only=True)
class VirtualEnvironment:
    """A clean virtual environment, and a folder that is the image's root."""

    execution: Execution
    seconds: float

    @property
    def prism(self) -> str:
        return str(cached_path())

    @property
    def scratch(self) -> str:
        return str(self.execution.folder)

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        folder = self.execution.folder
        given = {"PYTHONPATH": self.execution.environment["PYTHONPATH"], **(environment or {})}
        # -P: else what is imported would be that of the folder where the tests run.
        return [
            *("env", "--unset=VIRTUAL_ENV", *(f"{name}={value}" for name, value in given.items())),
            *(str(self.execution.python), "-P"),
            *(str(folder) + each if each.startswith("/template/") else each for each in arguments),
        ]

    def read(self, path: str) -> str:
        return (self.execution.folder / path.lstrip("/")).read_text()


def python_of_the_image() -> str | None:
    """A Python of this machine that is of the image's version; None if there is none."""
    (tag,) = (each.tag for each in read_lock() if each.role == "python")
    version = ".".join(tag.partition("-")[0].split(".")[:2])
    if "{}.{}".format(*sys.version_info) == version:
        return sys.executable
    return shutil.which(f"python{version}")


def container() -> Container:
    """Builds the image. Raises ImageError where there is no engine, or no digests, or it fails."""
    engine = find_engine()
    engine.build(template_named("mqtt-to-pubsub"), REFERENCE, digests=digests(read_lock()))
    return Container(engine=engine)


def no_engine() -> str | None:
    """Why no image can be built here, in a sentence; None where there is an engine."""
    try:
        find_engine()
    except ImageError as error:
        return str(error)
    return None


def virtual_environment(folder: Path, python: str) -> VirtualEnvironment:
    """Makes one, and executes the Dockerfile's Python part in it."""
    begin = time.monotonic()
    subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
    root = folder / "root"
    root.mkdir()
    arguments = {each.argument: each.digest or UNRESOLVED for each in read_lock()}
    execution = Execution(root, folder / "venv" / "bin" / "python", arguments)
    execution.run(stages(DOCKERFILE.read_text())["application"])
    return VirtualEnvironment(execution=execution, seconds=time.monotonic() - begin)
