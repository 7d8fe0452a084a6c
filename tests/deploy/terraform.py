"""Terraform, run on a folder with the stand-in provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TERRAFORM = ROOT / "deploy" / "terraform"
EXAMPLES = sorted(path for path in (TERRAFORM / "examples").iterdir() if path.is_dir())
MODULES = sorted(path for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
SITE = TERRAFORM / "examples" / "site"


def found() -> bool:
    """Whether there is a Terraform here."""
    return shutil.which("terraform") is not None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of a plan, with its values."""

    address: str
    type: str
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an apply of a folder would make."""

    resources: tuple[Resource, ...]

    def of(self, kind: str) -> list[Resource]:
        """Its resources of a type."""
        return [each for each in self.resources if each.type == kind]


@dataclass(frozen=True, kw_only=True)
class Terraform:
    """Terraform with the providers of ``environment``; what it writes goes to ``data``."""

    environment: dict[str, str]
    data: Path
    _ready: set[Path] = field(default_factory=set)

    def validate(self, folder: Path) -> None:
        """Raises AssertionError with what Terraform says of a folder that is wrong."""
        self._run(folder, "validate")

    def check_format(self, folder: Path) -> None:
        """Raises AssertionError with what ``terraform fmt`` would change, also in folders below."""
        self._run(folder, "fmt", "-check", "-diff", "-recursive")

    def plan(self, folder: Path, *arguments: str) -> Plan:
        """Returns the plan of a folder's first apply, validated. Raises as ``validate``."""
        file = self.data / "plan"
        # Whoever deploys from this checkout has a state in the folder.
        state = f"-state={self.data / 'nothing.tfstate'}"
        self._run(folder, "plan", "-input=false", "-lock=false", state, f"-out={file}", *arguments)
        text = self._run(folder, "show", "-json", str(file))
        return Plan(resources=tuple(_resources(json.loads(text)["planned_values"]["root_module"])))

    def _run(self, folder: Path, *arguments: str) -> str:
        if folder not in self._ready and arguments[0] not in ("fmt", "init"):
            self._run(folder, "init", "-backend=false", "-input=false")
            self._ready.add(folder)
        done = subprocess.run(
            ["terraform", f"-chdir={folder}", *arguments],
            env={
                **os.environ,
                **self.environment,
                "TF_DATA_DIR": str(self.data / folder.name),
                "TF_CLI_CONFIG_FILE": os.devnull,
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
                "TF_CLI_ARGS": "-no-color",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Its messages are broken into lines, in frames.
        told = " ".join((done.stdout + done.stderr).replace("│", " ").split())
        assert done.returncode == 0, told
        return done.stdout


def site_plan(program: Terraform, *arguments: str) -> Plan:
    """Returns the plan of the whole site with the variables of its example."""
    variables = SITE / "terraform.tfvars.example"
    return program.plan(SITE, f"-var-file={variables}", *arguments)


def _resources(module: dict[str, Any]) -> Iterator[Resource]:
    for each in module.get("resources", ()):
        yield Resource(address=each["address"], type=each["type"], values=each["values"])
    for child in module.get("child_modules", ()):
        yield from _resources(child)
