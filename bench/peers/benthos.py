"""Benthos 4.27, built from ``bench/benthos`` with Go, configured by the YAML files beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.peer import Peer
from bench.processes import BenchError, tail
from bench.services import Endpoints

VERSION = "4.27.0"
_SOURCE = Path(__file__).parent.parent / "benthos"
_BUILD = Path(__file__).parent.parent / ".build"
_BINARY = _BUILD / "benthos"
_BUILD_SECONDS = 900


class Benthos(Peer):
    """A Go program that people configure rather than write; settings and reasons in its YAML."""

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
        return [str(_BINARY), "-c", str(_SOURCE / f"{self.direction.value}.yaml")]

    def environment(self, endpoints: Endpoints) -> dict[str, str]:
        """The broker's address as the YAML files want it, beside the rest."""
        return {
            **super().environment(endpoints),
            "BENCH_BROKER": f"tcp://127.0.0.1:{endpoints.broker_port}",
        }


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
