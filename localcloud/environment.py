"""Make the virtual environment: ``python3 -P localcloud/environment.py .venv``.

`make` runs this with whatever Python from 3.11 to 3.14 the machine has, before anything is
installed, so it imports the standard library only. It installs requirements.lock with every
hash checked, then the project itself, editable. The stamp is written last: a set-up that was
cut off leaves its mark behind, and the next one starts from an empty folder, since pip takes
a half-copied package for an installed one. So does one with another Python than before.
"""

import argparse
import fcntl
import hashlib
import platform
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
METADATA = PROJECT / "pyproject.toml"
STAMP = ".set-up"
MARK = ".set-up-unfinished"
LOG = "set-up.log"
LOG_TAIL_LINES = 25


class EnvironmentFailed(Exception):
    """The environment could not be made; the message is for the person at the keyboard."""


def fingerprint() -> str:
    """What the environment is made from: a hash of Python's version, the lock and the metadata."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in (LOCK, METADATA):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def locked_packages(lock: str) -> int:
    """How many packages a lock file pins; some are for other systems or Python versions."""
    return sum("==" in line and not line[:1].isspace() for line in lock.splitlines())


def describe(line: str) -> tuple[bool, str] | None:
    """What a line of pip's output means for a person: (is it a new package?, what goes on)."""
    word, _, rest = line.strip().partition(" ")
    if word == "Collecting" and rest:
        return True, rest.split()[0]
    if word == "Requirement" and rest.startswith("already satisfied: "):
        return True, rest.removeprefix("already satisfied: ").split()[0]
    if line.startswith("Installing collected packages"):
        return False, "unpacking them all (the longest step)"
    return None


class Progress:
    """One line on stderr that is redrawn on a terminal and repeated every 10 s elsewhere."""

    def __init__(self, *, packages: int) -> None:
        self._packages = packages
        self._seen = 0
        self._doing = ""
        self._started = time.monotonic()
        self._said = self._started
        self._live = sys.stderr.isatty()

    def note(self, line: str) -> None:
        """Take a line of pip's output into account."""
        if what := describe(line):
            self._seen += what[0]
            self._doing = what[1]

    def show(self) -> None:
        """Draw the line, if it is time to."""
        now = time.monotonic()
        if not self._live and now - self._said < 10:
            return
        self._said = now
        line = (
            f"  {now - self._started:4.0f} s  "
            f"{self._seen} of about {self._packages} packages  {self._doing}"
        )
        if self._live:
            sys.stderr.write(f"\r{line[:100]:100}")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the redrawn line."""
        if self._live:
            sys.stderr.write("\n")


def _watched(command: list[str], *, log: IO[str], progress: Progress, failure: str) -> None:
    """Run a command with its output in the log and its progress on stderr."""
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT
    )
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        for line in output:
            log.write(line)
            tail.append(line)
            progress.note(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(timeout=0.2)
            progress.show()
    except BaseException:  # mostly Ctrl-C: pip must not go on without us; raised again
        process.terminate()
        process.wait()
        raise
    finally:
        progress.end()
    if process.wait():
        raise EnvironmentFailed(f"{failure}\n\n{''.join(tail)}\nThe whole output: {log.name}")


def _can_be_kept(python: Path) -> bool:
    """Whether an environment's Python runs, has pip and is of the version that runs this."""
    if not python.exists():
        return False
    command = [str(python), "-c", "import pip, platform; print(platform.python_version())"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == platform.python_version()


def make(venv: Path) -> None:
    """Make the environment, or bring the one that is there up to the lock file and this Python.

    Raises EnvironmentFailed where Python has no venv module, or pip can't install.
    """
    wanted = fingerprint()
    stamp, mark = venv / STAMP, venv / MARK
    if stamp.exists() and stamp.read_text() == wanted and not mark.exists():
        stamp.touch()
        return
    python = venv / "bin" / "python"
    fresh = mark.exists() or not _can_be_kept(python)
    sys.stderr.write(
        f"Setting up {venv.name} with Python {'.'.join(map(str, sys.version_info[:3]))}: "
        "the packages of requirements.lock, each checked by its hash.\n"
        "This is done once and takes some 90 s with a good network, and 1.4 GB of disk.\n"
    )
    if fresh:
        command = [sys.executable, "-m", "venv", "--clear", str(venv)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EnvironmentFailed(
                f"{sys.executable} could not make a virtual environment:\n\n"
                f"{done.stdout}{done.stderr}\n"
                "Where Python comes in parts (Debian, Ubuntu), install the package python3-venv."
            )
    mark.touch()
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    progress = Progress(packages=locked_packages(LOCK.read_text()))
    with (venv / LOG).open("w") as log:
        # The lock is whole, and nothing beside it is looked up: without --no-deps a package that is
        # asked for with an extra (NAME[EXTRA]) fails as soon as a newer version of it is released.
        _watched(
            [*pip, "--progress-bar=off", "--require-hashes", "--no-deps", "-r", str(LOCK)],
            log=log,
            progress=progress,
            failure="pip could not install the packages of requirements.lock:",
        )
        _watched(
            [*pip, "--no-deps", "--no-build-isolation", "-e", str(PROJECT)],
            log=log,
            progress=progress,
            failure="pip could not install the project itself:",
        )
        _watched(
            [str(python), "-m", "pip", "check", "--disable-pip-version-check"],
            log=log,
            progress=progress,
            failure="requirements.lock is not whole, or contradicts itself; `make lock` writes it:",
        )
    stamp.write_text(wanted)
    mark.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; gives the exit status."""
    parser = argparse.ArgumentParser(description="Make the project's virtual environment.")
    parser.add_argument("venv", type=Path, help="its folder")
    venv: Path = parser.parse_args(arguments).venv.absolute()
    # Two makes in two terminals: the second waits here and then finds all done.
    with LOCK.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            make(venv)
        except EnvironmentFailed as error:
            sys.stderr.write(f"\n{error}\n")
            return 1
        except KeyboardInterrupt:
            sys.stderr.write("\nStopped. The next make starts the set-up anew.\n")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
