"""templates/Dockerfile as its instructions, and a stage of it executed without an engine."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dockerfile_parse import DockerfileParser

PROJECT = Path(__file__).resolve().parent.parent.parent.parent
DOCKERFILE = PROJECT / "templates" / "Dockerfile"

_DPKG_STATUS = "/var/lib/dpkg/status"
# As .dockerignore has it.
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage: what it begins with, and its instructions in their order."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...] = ()

    def of(self, instruction: str) -> list[str]:
        return [value for kind, value in self.steps if kind == instruction]


def stages(text: str) -> dict[str, Stage]:
    """The stages by their names, of a Dockerfile's text."""
    found: dict[str, Stage] = {}
    name = ""
    for step in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
        kind, value = step["instruction"], step["value"]
        if kind == "FROM":
            named = re.fullmatch(r"(\S+)(?: AS (\S+))?", value)
            assert named is not None, value
            name = named[2] or str(len(found))
            found[name] = Stage(name=name, base=named[1])
        elif kind != "COMMENT" and found:
            stage = found[name]
            found[name] = replace(stage, steps=(*stage.steps, (kind, value)))
    return found


class Execution:
    """A stage executed in a virtual environment and a folder, as an engine would in an image.

    Its absolute paths are below ``folder`` here. dpkg's record is empty: what the base image has
    installed is not known, and this system's packages are none of its.
    """

    def __init__(self, folder: Path, python: Path, arguments: Mapping[str, str]) -> None:
        self.folder = folder
        self.python = python
        # What configures pip (proxies, indexes) is this machine's matter; what configures Python
        # would be in neither.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"
        }
        self.environment["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        self._arguments = arguments
        self._working = folder
        self._dpkg = folder / "dpkg-status"
        self._dpkg.touch()

    def run(self, stage: Stage) -> None:
        """Executes every instruction; one that it doesn't know, or that fails, is an error."""
        for kind, value in stage.steps:
            if kind == "WORKDIR":
                self._working = self._here(value)
                self._working.mkdir(parents=True)
            elif kind == "ENV":
                for pair in value.split():
                    name, _, text = pair.partition("=")
                    self.environment[name] = re.sub("^/", f"{self.folder}/", text)
            elif kind == "ARG":
                self.environment[value] = self._arguments[value]
            elif kind == "COPY":
                self._copy(*value.split())
            elif kind == "RUN":
                self._shell(value)
            else:
                raise AssertionError(f"{kind} {value}: say here what it means without an engine")

    def _here(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def _copy(self, *paths: str) -> None:
        *sources, target = paths
        for source in sources:
            origin = PROJECT / source
            if origin.is_dir():
                shutil.copytree(
                    origin, self._working / target, ignore=_LEFT_OUT, dirs_exist_ok=True
                )
            else:
                (self._working / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, self._working / target)

    def _shell(self, command: str) -> None:
        done = subprocess.run(
            ["sh", "-c", command.replace(_DPKG_STATUS, str(self._dpkg))],
            cwd=self._working,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
