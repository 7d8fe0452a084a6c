"""Building the image by the container engine that is there, and pushing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from templates.catalog import Template
from templates.errors import ImageError
from templates.image.locked import PLATFORM

PROJECT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = Path("templates") / "Dockerfile"

# What each answers only where it can build: docker's client alone can't.
_ENGINES = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "podman": ("podman", "info", "--format", "{{.Version.Version}}"),
}
_ANSWER_SECONDS = 30
# Else docker pushes an index of the image and a record of its build, and the digest is the index's.
_NO_ATTESTATIONS = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A container engine that answers."""

    name: str

    def build(
        self,
        template: Template,
        reference: str,
        *,
        digests: Mapping[str, str],
        as_root: bool = False,
        project: Path = PROJECT,
    ) -> None:
        """Builds a template's image under a reference; the engine's output goes to stderr.

        ``digests``: by the Dockerfile's arguments. ``as_root``: its programs run as root.

        Raises:
          ImageError: this is no checkout of the project, or the engine failed.
        """
        if not (project / DOCKERFILE).is_file():
            raise ImageError(
                f"not built: {project} has no {DOCKERFILE}. Run it in a checkout of the project:"
                " an installed copy doesn't have what an image is made of"
            )
        arguments = {**digests, "TEMPLATE": template.folder.name}
        if as_root:
            arguments["RUN_AS"] = "0"
        self._run(
            "build",
            f"--platform={PLATFORM}",
            f"--file={DOCKERFILE}",
            f"--tag={reference}",
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            ".",
            folder=project,
        )

    def push(self, reference: str) -> str:
        """Pushes an image; returns it by its digest, which no later push can change.

        Raises:
          ImageError: the engine failed.
        """
        image = reference.rpartition(":")[0]
        if self.name == "podman":
            # What it says of a local image is not what it pushes, which it compresses anew.
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "digest"
                self._run("push", f"--digestfile={file}", reference)
                return f"{image}@{file.read_text().strip()}"
        self._run("push", reference)
        inspect = ("image", "inspect", "--format={{json .RepoDigests}}", reference)
        pushed: list[str] = json.loads(self._run(*inspect, answer=True))
        for each in pushed:
            if each.startswith(f"{image}@"):
                return each
        raise ImageError(f"{self.name} pushed {reference}, but says no digest of it: {pushed}")

    def _run(self, *arguments: str, folder: Path | None = None, answer: bool = False) -> str:
        done = subprocess.run(
            [self.name, *arguments],
            cwd=folder,
            env=os.environ | _NO_ATTESTATIONS,
            stdout=subprocess.PIPE if answer else sys.stderr.fileno(),
            text=True,
            check=False,
        )
        if done.returncode:
            raise ImageError(
                f"{self.name} {arguments[0]} failed with status {done.returncode}; what it said"
                " stands above"
            )
        return done.stdout or ""


def find_engine(engines: Mapping[str, Sequence[str]] = _ENGINES) -> Engine:
    """Returns the engine of this machine, docker before podman.

    Raises:
      ImageError: there is none, or none answers; says what each said, and what to do.
    """
    said = []
    for name, question in engines.items():
        if shutil.which(name) is None:
            said.append(f"{name} is not installed")
            continue
        try:
            done = subprocess.run(
                question, capture_output=True, text=True, check=False, timeout=_ANSWER_SECONDS
            )
        except subprocess.TimeoutExpired:
            said.append(f"{name} has not answered within {_ANSWER_SECONDS} s")
            continue
        if done.returncode == 0 and done.stdout.strip():
            return Engine(name=name)
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        said.append(f"{name}: {words[-1]}")
    raise ImageError(
        f"not built: no container engine runs here ({'; '.join(said)}). Install or start docker or"
        " podman, or build on a machine that has one"
    )
