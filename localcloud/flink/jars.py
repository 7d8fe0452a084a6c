"""Provide the jars of Flink and of Beam's job server: ``python -m localcloud.flink.jars``.

Maven copies what `pom.xml` beside this file names, some 160 jars of 150 MB, once. What is made is
kept at :func:`cached_jars`, moved there whole, so a cut-off attempt leaves nothing behind. Two
callers at once: one makes it, the other waits.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path

JAVA_MINIMUM = 11
JAVA_MAXIMUM = 17
_COPY_SECONDS = 900
_TAIL_CHARACTERS = 2_000
_POM = Path(__file__).with_name("pom.xml")
_WANTED = ("beam-runners-flink-*.jar", "flink-runtime-*.jar", "flink-shaded-zookeeper-*.jar")
_INSTALL = "on Debian: apt-get install maven openjdk-17-jre-headless"


class FlinkUnavailable(Exception):
    """Java, Maven or the jars can't be had; the message says what to install."""


def cached_jars() -> Path:
    """The folder of the jars; it need not be there yet. Another `pom.xml` has another one."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = blake2b(_POM.read_bytes(), digest_size=6).hexdigest()
    return Path(cache) / "mqttbeam" / f"flink-{digest}"


def java_version(answer: str) -> int | None:
    """The feature release from what ``java -version`` prints; None where it says something else."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', answer)
    if found is None:
        return None
    # Up to 8 it was written 1.8.
    return int(found[2]) if found[1] == "1" and found[2] else int(found[1])


def check_java() -> str:
    """Returns the path of a Java that Flink 1.19 runs on. Raises FlinkUnavailable."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise FlinkUnavailable(
            f"no Java is installed{f' in JAVA_HOME={home}' if home else ''}, and Flink needs"
            f" {JAVA_MINIMUM} to {JAVA_MAXIMUM}; {_INSTALL}"
        )
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = java_version(answer)
    if found is None or not JAVA_MINIMUM <= found <= JAVA_MAXIMUM:
        said = answer.strip().partition("\n")[0] or "no Java"
        raise FlinkUnavailable(
            f"{java} is {said!r}, and Flink 1.19 needs {JAVA_MINIMUM} to {JAVA_MAXIMUM};"
            f" name another one by JAVA_HOME, or {_INSTALL}"
        )
    return java


def ensure_jars() -> Path:
    """The folder of the jars, filled by Maven if it is not there yet.

    Raises:
      FlinkUnavailable: says what to install, or what Maven said.
    """
    folder = cached_jars()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise FlinkUnavailable(f"Flink's jars come by Maven, and there is no mvn; {_INSTALL}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.is_dir():
            sys.stderr.write("Flink: copying its jars by Maven, 150 MB, once\n")
            # Beside the cache, so that the last step is a rename on one file system.
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as made:
                _copy(maven, Path(made) / "jars")
                (Path(made) / "jars").rename(folder)
    return folder


def _copy(maven: str, jars: Path) -> None:
    command = [maven, "--batch-mode", "--quiet", "--file", str(_POM)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COPY_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise FlinkUnavailable(f"Maven was not done after {_COPY_SECONDS} s") from None
    if done.returncode:
        said = (done.stdout + done.stderr)[-_TAIL_CHARACTERS:].strip()
        raise FlinkUnavailable(f"Maven ended with status {done.returncode}: {said}")
    missing = [pattern for pattern in _WANTED if not list(jars.glob(pattern))]
    if missing:
        raise FlinkUnavailable(f"Maven copied nothing like {', '.join(missing)} to {jars}")


def main() -> int:
    """Entry point; gives the exit status."""
    try:
        check_java()
        ensure_jars()
    except FlinkUnavailable as error:
        sys.stderr.write(f"Flink: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
