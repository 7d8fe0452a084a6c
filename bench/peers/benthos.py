"""Benthos 4.27, built from ``bench/benthos`` with Go, configured by the YAML files beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from bench.peers.peer import Direction, Peer
from bench.processes import BenchError, tail
from bench.services import Endpoints

VERSION = "4.27.0"
_SOURCE = Path(__file__).parent.parent / "benthos"
_BUILD = Path(__file__).parent.parent / ".build"
_BINARY = _BUILD / "benthos"
_BUILD_SECONDS = 900
_TUNED = {
    Direction.TELEMETRY: (
        "output.gcp_pubsub.max_in_flight",
        "output.gcp_pubsub.batching",
        "output.gcp_pubsub.count_threshold",
        "output.gcp_pubsub.delay_threshold",
    ),
    Direction.COMMANDS: (
        "input.gcp_pubsub.max_outstanding_messages",
        "output.mqtt.max_in_flight",
    ),
}


class Benthos(Peer):
    """A Go program that people configure rather than write; settings and reasons in its YAML.

    Tuned to its best on this work, as far as it was tried.
    """

    name = "benthos"

    def unavailable(self) -> str | None:
        """No Go to build it with. Builds it when there is one and it is not built yet."""
        if _built():
            return None
        if shutil.which("go") is None:
            return f"Benthos {VERSION} is built with Go, and there is none on PATH"
        _build()
        return None

    def command(self, endpoints: Endpoints) -> list[str]:
        """Runs the config of the direction; Benthos fills in its places from the environment."""
        return [str(_BINARY), "-c", str(self._config(endpoints.folder))]

    def environment(self, endpoints: Endpoints) -> dict[str, str]:
        """The broker's address as the YAML files want it, beside the rest."""
        return {
            **super().environment(endpoints),
            "BENCH_BROKER": f"tcp://127.0.0.1:{endpoints.broker_port}",
        }

    def _config(self, folder: Path) -> Path:
        return config_of(self.direction)


class BenthosDefaults(Benthos):
    """Benthos as its documentation configures it: the same YAML without what was tuned."""

    name = "benthos-defaults"

    def _config(self, folder: Path) -> Path:
        config = folder / "benthos-defaults.yaml"
        config.write_text(yaml.safe_dump(untuned(self.direction)))
        return config


def config_of(direction: Direction) -> Path:
    """The config, tuned, of a direction."""
    return _SOURCE / f"{direction.value}.yaml"


def untuned(direction: Direction) -> dict[str, Any]:
    """The config of a direction in which Benthos' own defaults stand for all that was tuned."""
    config: dict[str, Any] = yaml.safe_load(config_of(direction).read_text())
    for setting in _TUNED[direction]:
        *sections, name = setting.split(".")
        del reduce(getitem, sections, config)[name]
    return config


def _built() -> bool:
    sources = [_SOURCE / name for name in ("main.go", "go.mod", "go.sum")]
    return _BINARY.exists() and all(
        _BINARY.stat().st_mtime >= source.stat().st_mtime for source in sources
    )


def _build() -> None:
    _BUILD.mkdir(exist_ok=True)
    log = _BUILD / "benthos-build.log"
    print(
        f"building Benthos {VERSION} with Go, once, some minutes; log: {log}",
        file=sys.stderr,
        flush=True,
    )
    # -modcacherw: Go makes its module cache read-only, and `rm -rf` then fails for its owner.
    flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
    with log.open("wb") as stream:
        done = subprocess.run(
            ["go", "build", "-trimpath", "-o", str(_BINARY), "."],
            cwd=_SOURCE,
            env={**os.environ, "GOFLAGS": flags},
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    if done.returncode:
        raise BenchError(f"Benthos could not be built:\n{tail(log)}")
    # go leaves an unchanged binary alone; its time says that it belongs to these sources.
    _BINARY.touch()
